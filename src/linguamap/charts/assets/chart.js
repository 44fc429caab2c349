/* Charts are drawn already; here they answer: pointer and arrow keys read them, choices show parts of them. */
const SVG = 'http://www.w3.org/2000/svg';
/* All text goes in as text nodes; the only markup parsed is that of drawings which the page itself brought along. */
function build(element, attributes, kids) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const kid of kids.flat(Infinity)) {
    if (kid === null || kid === undefined || kid === false) continue;
    element.append(kid.nodeType ? kid : String(kid));
  }
  return element;
}
const h = (tag, attributes, ...kids) => build(document.createElement(tag), attributes, kids);
const s = (tag, attributes, ...kids) => build(document.createElementNS(SVG, tag), attributes, kids);

const tip = h('div', {id: 'tip', role: 'presentation', hidden: true});
const live = h('div', {id: 'live', class: 'unseen', role: 'status', 'aria-live': 'polite'});
document.body.append(tip, live);
function showTip(x, y, lines) {
  tip.replaceChildren(...lines.map((line, place) => h(place ? 'div' : 'b', {}, line)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, x + 16 + box.width > innerWidth ? x - box.width - 12 : x + 16)}px`;
  tip.style.top = `${Math.min(Math.max(8, y - box.height / 2), innerHeight - box.height - 8)}px`;
}
const hideTip = () => { tip.hidden = true; };
addEventListener('scroll', hideTip, {passive: true});
addEventListener('keydown', event => { if (event.key === 'Escape') hideTip(); });
let speaking;
function announce(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { live.textContent = text; }, 120);
}

const chartOf = node => node.closest('.chart');
const labelsOf = svg => chartOf(svg).dataset.labels.split('|');
const isShown = node => !node.closest('[hidden], [display=none]');
const readers = svg => [...svg.querySelectorAll('[data-r]')].filter(isShown);
const pointIn = (svg, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
const numbersOf = (svg, name) => svg.dataset[name].split(' ').map(Number);
const at = (svg, x, y) => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());

/* One layer is marked in all charts at once. */
const layered = [];
let current = null;
function spotOf(svg, layer) {
  if (svg.matches('.map')) {
    const [left, right, columns] = numbersOf(svg, 'grid');
    const step = (right - left) / columns;
    return [left + layer * step, step];
  }
  const [left, right, last] = numbersOf(svg, 'x');
  return [left + layer / last * (right - left), 0];
}
function markLayer(layer) {
  if (layer === current) return;
  current = layer;
  for (const svg of layered) {
    const mark = svg.querySelector('.cursor') || svg.appendChild(s('rect', {class: 'cursor', y: 6, height: svg.viewBox.baseVal.height - 30}));
    mark.setAttribute('visibility', layer === null ? 'hidden' : 'visible');
    if (layer !== null) { const [x, width] = spotOf(svg, layer); mark.setAttribute('x', x); mark.setAttribute('width', width); }
  }
}
function readLayer(svg, layer, x, y, row) {
  const found = (row ? [row] : readers(svg)).map(one => [one.dataset.name, one.dataset.r.split('|')[layer] || '', one.getAttribute('color')]).filter(([, text]) => text);
  if (svg.matches('.curves')) found.sort((a, b) => parseFloat(b[1].replace('−', '-')) - parseFloat(a[1].replace('−', '-')));
  const label = labelsOf(svg)[layer];
  showTip(x, y, [label, ...found.map(([name, text, colour]) => [colour ? s('svg', {class: 'mark', viewBox: '0 0 10 10', width: 9, height: 9}, s('circle', {cx: 5, cy: 5, r: 5, fill: colour})) : null, `${name}${svg.matches('.map') ? ':' : ''} `, text])]);
  announce(`${label}: ${found.map(([name, text]) => `${name} ${text}`).join('; ')}`);
}
function readLayers(svg) {
  layered.push(svg);
  const last = labelsOf(svg).length - 1;
  svg.addEventListener('pointermove', event => {
    const [start, step] = spotOf(svg, 0);
    const width = step || spotOf(svg, 1)[0] - start;
    const layer = Math.floor((pointIn(svg, event).x - start) / width + (step ? 0 : 0.5));
    const row = svg.matches('.map') ? event.target.closest('[data-r]') : null;
    if (layer < 0 || layer > last || (svg.matches('.map') && !row)) { markLayer(null); hideTip(); return; }
    markLayer(layer);
    readLayer(svg, layer, event.clientX, event.clientY, row);
  });
  svg.addEventListener('pointerleave', () => { markLayer(null); hideTip(); });
  svg.addEventListener('blur', () => { markLayer(null); hideTip(); });
  svg.addEventListener('keydown', event => {
    const step = {ArrowRight: 1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -Infinity, End: Infinity}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const from = current === null ? (step > 0 ? -1 : last + 1) : current;
    const layer = Math.min(last, Math.max(0, from + step));
    markLayer(layer);
    const place = at(svg, spotOf(svg, layer)[0], 40);
    readLayer(svg, layer, place.x, place.y);
  });
}

/* Cells of a text in depth: a box moves over them, with the pointer or the arrow keys. */
function readTokens(svg) {
  const [left, top, wide, high, columns, rows] = numbersOf(svg, 'tokens');
  const mirrored = svg.dataset.mirrored === 'true';
  const first = mirrored ? 0 : left;
  const there = svg.dataset.there.split('\t');
  const box = svg.appendChild(s('rect', {class: 'cursor', width: wide, height: high, visibility: 'hidden'}));
  let cell = null;
  const show = (row, column, x, y) => {
    cell = [row, column];
    const place = mirrored ? columns - 1 - column : column;
    box.setAttribute('x', first + place * wide);
    box.setAttribute('y', top + row * high - 1);
    box.setAttribute('visibility', 'visible');
    const line = svg.querySelectorAll('.token-row')[row];
    const text = line.dataset.r.split('\t')[column];
    const spot = at(svg, first + (place + 1) * wide, top + row * high);
    showTip(x === undefined ? spot.x : x, y === undefined ? spot.y : y, [line.dataset.name, text, `stands there: ${there[column]}`]);
    announce(`${line.dataset.name}, position ${column + 1}: ${text}`);
  };
  const leave = () => { cell = null; box.setAttribute('visibility', 'hidden'); hideTip(); };
  svg.addEventListener('pointermove', event => {
    const point = pointIn(svg, event);
    const place = Math.floor((point.x - first) / wide);
    const row = Math.floor((point.y - top) / high);
    if (row < 0 || row >= rows || place < 0 || place >= columns) { leave(); return; }
    show(row, mirrored ? columns - 1 - place : place, event.clientX, event.clientY);
  });
  svg.addEventListener('pointerleave', leave);
  svg.addEventListener('blur', leave);
  svg.addEventListener('keydown', event => {
    const side = mirrored ? -1 : 1;
    const move = {ArrowRight: [0, side], ArrowLeft: [0, -side], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
    if (!move) return;
    event.preventDefault();
    const [row, column] = cell || [-move[0], -move[1]];
    show(Math.min(rows - 1, Math.max(0, row + move[0])), Math.min(columns - 1, Math.max(0, column + move[1])));
    const shift = at(svg, Number(box.getAttribute('x')), 0).x - svg.parentElement.getBoundingClientRect().left;
    if (shift < 40 || shift > svg.parentElement.clientWidth - wide) svg.parentElement.scrollLeft += shift - svg.parentElement.clientWidth / 2;
  });
}

/* Whatever carries its own words says them. */
const wordsOf = node => (node.dataset.tip || node.getAttribute('aria-label')).split(node.dataset.tip ? '\n' : '; ');
const tipOf = event => event.target.closest && event.target.closest('[data-tip]');
document.addEventListener('pointermove', event => {
  const node = tipOf(event);
  if (node) showTip(event.clientX, event.clientY, wordsOf(node));
  else if (event.target.closest && !event.target.closest('svg.curves, svg.map, svg.token-grid')) hideTip();
});
document.addEventListener('focusin', event => {
  const node = tipOf(event);
  if (!node || !node.matches(':focus-visible')) return;
  const box = node.getBoundingClientRect();
  showTip(box.right, box.top, wordsOf(node));
});
document.addEventListener('focusout', hideTip);
/* One stop for the tab key; arrows move from cell to cell. */
for (const svg of document.querySelectorAll('svg.outcomes')) {
  svg.addEventListener('keydown', event => {
    const move = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
    const from = event.target.closest('[data-cell]');
    if (!move || !from) return;
    event.preventDefault();
    let [row, column] = from.dataset.cell.split(' ').map(Number);
    let next = null;
    for (let tries = 0; tries < 40 && !next; tries += 1) {
      row += move[0]; column += move[1];
      next = svg.querySelector(`[data-cell="${row} ${column}"]`);
    }
    if (next) { from.setAttribute('tabindex', -1); next.setAttribute('tabindex', 0); next.focus(); }
  });
}

/* What a choice would show is drawn when something is chosen: until then it travels compressed. */
async function drawLater(chart) {
  const host = chart.querySelector('[data-later]');
  if (!host) return;
  const bytes = Uint8Array.from(atob(host.dataset.later), one => one.charCodeAt(0));
  delete host.dataset.later;
  const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
  const panels = [...new DOMParser().parseFromString(text, 'text/html').body.children];
  host.append(...panels);
  panels.forEach(readParts);
  host.dataset.drawn = 'all';
}
function readParts(part) {
  part.querySelectorAll('svg.curves, svg.map').forEach(readLayers);
  part.querySelectorAll('svg.token-grid').forEach(readTokens);
}
readParts(document);

/* Choices: what lacks the chosen value is hidden. */
function applyChoices(chart) {
  const chosen = [...chart.querySelectorAll('select[data-control], input[data-control]:checked')].map(one => [one.dataset.control, one.value]);
  const named = chosen.map(([name]) => `[data-${name}]`).join(', ');
  if (!named) return;
  for (const node of chart.querySelectorAll(named)) {
    const fits = chosen.every(([name, value]) => !(name in node.dataset) || node.dataset[name].split(' ').includes(value));
    if (node.namespaceURI === SVG) { if (fits) node.removeAttribute('display'); else node.setAttribute('display', 'none'); } else node.hidden = !fits;
  }
  chart.querySelectorAll('.behind').forEach(one => { one.open = false; one.querySelectorAll('.scroll').forEach(table => table.remove()); });
}
document.addEventListener('change', async event => {
  if (!event.target.matches('[data-control]')) return;
  const chart = chartOf(event.target);
  await drawLater(chart);
  applyChoices(chart);
});

/* Chips bring a language's parts forward: for a moment under the pointer, or until pressed again. */
for (const chart of document.querySelectorAll('.chart')) {
  let held = null;
  const chips = [...chart.querySelectorAll('.chip')];
  const dim = code => chart.querySelectorAll('svg [data-code]').forEach(one => one.classList.toggle('dim', code !== null && one.dataset.code !== code));
  for (const chip of chips) {
    const code = chip.dataset.code;
    chip.addEventListener('pointerenter', () => dim(code));
    chip.addEventListener('pointerleave', () => dim(held));
    chip.addEventListener('focus', () => dim(code));
    chip.addEventListener('blur', () => dim(held));
    chip.addEventListener('click', () => {
      held = held === code ? null : code;
      chips.forEach(one => one.setAttribute('aria-pressed', String(one === chip && held !== null)));
      dim(held);
    });
  }
  applyChoices(chart);
  if (chart.querySelector('svg.curves, svg.map')) chart.append(numbersBehind(chart));
}

/* The numbers behind a chart, as a table that is built when opened. */
function numbersBehind(chart) {
  const details = h('details', {class: 'behind'}, h('summary', {}, 'The numbers'));
  details.addEventListener('toggle', () => {
    if (!details.open || details.querySelector('table')) return;
    const series = [...chart.querySelectorAll('svg')].flatMap(readers).map(one => [`${one.dataset.long || one.dataset.name}`, one.dataset.r.split('|')]);
    details.append(h('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'The numbers behind the chart'}, h('table', {class: 'numbers'},
      h('thead', {}, h('tr', {}, ['Layer', ...series.map(([name]) => name)].map(text => h('th', {scope: 'col'}, text)))),
      h('tbody', {}, chart.dataset.labels.split('|').map((label, layer) => h('tr', {}, h('th', {scope: 'row'}, label), series.map(([, texts]) => h('td', {}, texts[layer] || '–'))))))));
  });
  return details;
}

/* Paper does not scroll: while the page is printed, a long text stands in strips below each other. */
const STRIP = 16;
const whole = new Map();
addEventListener('beforeprint', () => document.querySelectorAll('svg.token-grid').forEach(svg => {
  const [left, , wide, , columns] = numbersOf(svg, 'tokens');
  const host = svg.closest('.scroll');
  if (columns <= STRIP || whole.has(host)) return;
  const n = Math.ceil(columns / Math.ceil(columns / STRIP));
  const height = svg.viewBox.baseVal.height;
  const mirrored = svg.dataset.mirrored === 'true';
  const id = `#${svg.querySelector('g[id]').id}`;
  const part = (x, width, from) => s('svg', {x, y: 0, width, height, viewBox: `${from} 0 ${width} ${height}`}, s('use', {href: id}));
  const strips = Array.from({length: Math.ceil(columns / n)}, (_, place) => {
    const shown = Math.min(n, columns - place * n) * wide;
    const from = mirrored ? (columns - place * n) * wide - shown : left + place * n * wide;
    return s('svg', {class: 'paper-strip', viewBox: `0 0 ${left + n * wide} ${height}`}, part(mirrored ? n * wide : 0, left, mirrored ? columns * wide : 0), part(mirrored ? n * wide - shown : left, shown, from));
  });
  whole.set(host, strips);
  host.classList.add('stripped');
  host.append(...strips);
}));
addEventListener('afterprint', () => whole.forEach((strips, host) => { host.classList.remove('stripped'); strips.forEach(one => one.remove()); whole.delete(host); }));
