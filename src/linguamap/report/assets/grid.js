/* One prompt in depth: at each position of an answer, what each layer would write next. */
const G = D.grid;
const CELL = 4;
const GRID_WHENS = G ? ['before', 'after'].filter(when => G.prompts.some(prompt => prompt[when])) : [];
const RIGHT_TO_LEFT = new Set(['ar', 'fa', 'he', 'ur', 'ps', 'sd', 'ug', 'yi', 'dv', 'ckb']);
const gridCode = number => number < 0 ? '' : G.languages[number];

function cellOf(side, row, column) {
  const at = column * CELL;
  const [word, token, language, chance] = side.cells[row].slice(at, at + CELL);
  return {word: G.texts[word], token: G.texts[token], code: gridCode(language), chance};
}
const blankless = text => text.trim() === '' ? '·' : text;

function gridCell(side, row, column) {
  const cell = cellOf(side, row, column);
  const tint = cell.code === '' ? 0 : 14 + Math.round(0.4 * Math.max(0, cell.chance));
  return h('td', {tabindex: -1, 'data-code': cell.code, 'data-row': row, 'data-column': column, lang: cell.code || null,
    class: cell.code === '' ? 'unplaced' : null, style: {'--c': colour(cell.code), '--tint': `${tint}%`}}, h('bdi', {}, visible(blankless(cell.word))));
}
function cellWords(side, row, column) {
  const cell = cellOf(side, row, column);
  const chance = cell.chance < 0 ? '' : `, ${cell.chance < 1 ? '<1' : cell.chance}%`;
  return {cell, chance, place: `position ${column + 1}`, layer: layerLabel(side.layers[row])};
}
function gridTip(side, row, column) {
  const {cell, chance, layer} = cellWords(side, row, column);
  const named = cell.code === '' ? 'no language told' : languageName(cell.code);
  return [h('b', {}, layer), h('div', {}, swatch(cell.code), named), h('table', {},
    h('tr', {}, h('td', {}, 'Word'), h('td', {}, inline(cell.word, cell.code || null))),
    h('tr', {}, h('td', {}, 'Token'), h('td', {}, inline(blankless(cell.token)), h('small', {}, chance.slice(2)))),
    h('tr', {}, h('td', {}, 'Stands there'), h('td', {}, inline(blankless(side.tokens[column])))))];
}

/* Rows run from the last layer at the top, next to the text itself, down to the embedding. */
function gridTable(prompt, when, from = 0, to = Infinity) {
  const side = prompt[when];
  const columns = side.tokens.map((_, column) => column).slice(from, to);
  const rows = side.layers.map((_, row) => row).reverse();
  const direction = RIGHT_TO_LEFT.has(prompt.language) ? 'rtl' : 'ltr';
  const late = C.late_start === null ? -1 : side.layers.indexOf(Math.round(C.late_start));
  const table = h('table', {class: 'token-grid', dir: direction}, h('caption', {class: 'unseen'}, `Layers by tokens${GRID_WHENS.length > 1 ? `, ${when} tuning` : ''}`),
    h('thead', {}, h('tr', {}, h('th', {scope: 'col', class: 'layer'}, 'Text'), columns.map(column => h('th', {scope: 'col', lang: prompt.language}, h('bdi', {}, visible(blankless(side.tokens[column]))))))),
    h('tbody', {}, rows.map(row => h('tr', {class: row === late ? 'late-from' : null},
      h('th', {scope: 'row', class: `layer${C.tuned.includes(side.layers[row]) ? ' tuned-block' : ''}`, title: layerLabel(side.layers[row])}, side.layers[row]),
      columns.map(column => gridCell(side, row, column))))));
  const at = cell => [side, Number(cell.dataset.row), Number(cell.dataset.column)];
  table.addEventListener('pointermove', event => {
    const cell = event.target.closest('td');
    if (!cell) { hideTip(); return; }
    showTip(event.clientX, event.clientY, ...gridTip(...at(cell)));
  });
  table.addEventListener('pointerleave', hideTip);
  tokenKeys(table, side, rows, direction, at);
  return table;
}
/* One stop for the tab key; arrows move as the eye sees it, also where text runs from the right. */
function tokenKeys(table, side, rows, direction, at) {
  const cellAt = (row, column) => table.querySelector(`td[data-row="${row}"][data-column="${column}"]`);
  table.querySelector('td').tabIndex = 0;
  table.addEventListener('keydown', event => {
    const cell = event.target.closest('td');
    const sideways = direction === 'rtl' ? -1 : 1;
    const move = {ArrowRight: [0, sideways], ArrowLeft: [0, -sideways], ArrowDown: [-1, 0], ArrowUp: [1, 0]}[event.key];
    if (!cell || !move) return;
    event.preventDefault();
    const next = cellAt(Number(cell.dataset.row) + move[0], Number(cell.dataset.column) + move[1]);
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    next.scrollIntoView({block: 'nearest', inline: 'nearest'});
  });
  table.addEventListener('focusin', event => {
    const cell = event.target.closest('td');
    if (!cell) return;
    const box = cell.getBoundingClientRect();
    if (cell.matches(':focus-visible')) showTip(box.right, box.top, ...gridTip(...at(cell)));
    const {cell: found, chance, place, layer} = cellWords(...at(cell));
    announce(`${layer}, ${place}: ${found.word}, ${found.code === '' ? 'no language told' : languageName(found.code)}${chance}`);
  });
  table.addEventListener('focusout', hideTip);
}

/* The grid in words: for runs of layers, the language that most positions speak. */
function gridInWords(side) {
  const runs = [];
  side.layers.forEach((layer, row) => {
    const counts = new Map();
    side.tokens.forEach((_, column) => { const {code} = cellOf(side, row, column); if (code !== '') counts.set(code, (counts.get(code) || 0) + 1); });
    const [code, n] = [...counts].sort((a, b) => b[1] - a[1])[0] || ['', 0];
    const last = runs[runs.length - 1];
    if (last && last.code === code) { last.to = layer; last.low = Math.min(last.low, n); last.high = Math.max(last.high, n); } else runs.push({code, from: layer, to: layer, low: n, high: n});
  });
  const total = side.tokens.length;
  return runs.map(run => {
    const where = run.from === run.to ? `Layer ${run.from}` : `Layers ${run.from}–${run.to}`;
    const most = run.low === run.high ? run.high : `${run.low} to ${run.high}`;
    return run.code === '' ? `${where}: no word in a language that could be told.` : `${where}: ${languageName(run.code)} leads, at ${most} of ${total} positions.`;
  });
}

/* Paper does not scroll: while the page is printed, a long text stands in strips below each other. */
const STRIP = 16;
function strips(prompt, when) {
  const n = prompt[when].tokens.length;
  const width = Math.ceil(n / Math.ceil(n / STRIP));
  return Array.from({length: Math.ceil(n / width)}, (_, place) => gridTable(prompt, when, place * width, (place + 1) * width));
}
addEventListener('beforeprint', () => document.querySelectorAll('.grid-scroll').forEach(host => host.replaceChildren(...host.stripped())));
addEventListener('afterprint', () => document.querySelectorAll('.grid-scroll').forEach(host => host.replaceChildren(host.whole)));

const positions = side => h('small', {}, plural(side.tokens.length, 'position'));
function gridBody(prompt, when) {
  const shownWhens = (when === 'both' ? GRID_WHENS : [when]).filter(one => prompt[one]);
  const hosts = shownWhens.map(one => h('div', {class: 'grid-scroll', tabindex: 0, role: 'region', 'aria-label': `Layers by tokens${GRID_WHENS.length > 1 ? `, ${one} tuning` : ''}; scrolls sideways`, dir: RIGHT_TO_LEFT.has(prompt.language) ? 'rtl' : null}));
  hosts.forEach((host, place) => {
    host.whole = gridTable(prompt, shownWhens[place]);
    host.stripped = () => strips(prompt, shownWhens[place]);
    host.append(host.whole);
  });
  const follow = host => {
    host.classList.toggle('more-beside', host.scrollWidth - host.clientWidth - Math.abs(host.scrollLeft) > 4);
    hosts.forEach(other => { if (other !== host && other.scrollLeft !== host.scrollLeft) other.scrollLeft = host.scrollLeft; });
  };
  hosts.forEach(host => {
    host.addEventListener('scroll', () => follow(host), {passive: true});
    new ResizeObserver(() => follow(host)).observe(host);
  });
  return [shownWhens.length ? null : h('p', {class: 'missing'}, `This prompt was not read ${when} tuning.`),
    shownWhens.map((one, place) => [GRID_WHENS.length > 1 ? h('div', {class: 'small-head'}, one === 'before' ? 'Before tuning' : 'After tuning', positions(prompt[one])) : h('div', {class: 'small-head'}, positions(prompt[one])), hosts[place]]),
    h('details', {class: 'in-words'}, h('summary', {}, 'The same in words'), shownWhens.map(one => [GRID_WHENS.length > 1 ? h('h4', {}, one === 'before' ? 'Before tuning' : 'After tuning') : null, h('ul', {}, gridInWords(prompt[one]).map(line => h('li', {}, line)))]))];
}

function drawGrid() {
  const figure = figureOf('grid');
  if (!figure || !G) return;
  const first = G.prompts.findIndex(prompt => prompt.language !== C.pivot && prompt.scenario === 'code_mixed');
  const state = {place: Math.max(0, first), when: GRID_WHENS.length > 1 ? 'both' : GRID_WHENS[0]};
  const body = h('div', {});
  const draw = () => {
    const prompt = G.prompts[state.place];
    const codes = D.languages.map(one => one.code).filter(code => ['before', 'after'].some(when => prompt[when] && prompt[when].layers.some((_, row) => prompt[when].tokens.some((__, column) => cellOf(prompt[when], row, column).code === code))));
    const key = languageKey(figure, codes);
    key.append(h('span', {class: 'chip-note'}, h('i', {class: 'unplaced-key', 'aria-hidden': 'true'}), 'no word, or no language told'));
    body.replaceChildren(h('details', {class: 'grid-prompt'}, h('summary', {}, 'The prompt, and the text read after it'), h('div', {class: 'model-text'}, prose(prompt.prompt, prompt.language), h('div', {class: 'answer-read'}, prose(prompt.answer, prompt.language)))),
      key, ...gridBody(prompt, state.when).flat(Infinity).filter(Boolean));
  };
  const names = G.prompts.map((prompt, place) => [String(place), [languageName(prompt.language), scenarioName(prompt.scenario).toLowerCase(), prompt.kind, prompt.item].join(', ')]);
  put(figure, h('div', {class: 'tools'}, select('Prompt', names, String(state.place), value => { state.place = Number(value); draw(); }),
    GRID_WHENS.length > 1 ? choice('Which model', [['both', 'Before and after'], ['before', 'Before tuning'], ['after', 'After tuning']], state.when, value => { state.when = value; draw(); }) : null), body);
  if (G.left_out) figure.append(h('p', {class: 'fine note'}, `${plural(G.left_out, 'more prompt')} did not fit into this page and ${G.left_out === 1 ? 'is' : 'are'} only in probe/grid.json.`));
  draw();
}
