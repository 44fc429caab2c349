/* Scenario x language x benchmark: each cell its outcomes, before over after, and a way to its answers. */
const cellKey = (benchmark, scenario, language) => `${benchmark}|${scenario}|${language}`;
const cellsByKey = new Map(D.cells.map(cell => [cellKey(cell.benchmark, cell.scenario, cell.language), cell]));
const RATES = [['language', 'In the language'], ['task', 'Right task']];

/* Too few answers for a percentage: a fraction of those that could be judged. */
const FEW = 5;
function rateShort(rate) {
  if (!rate) return '–';
  return rate[3] < FEW ? `${Math.round(rate[0] * rate[3])}/${rate[3]}` : bare(rate[0]);
}
const rateOf = (both, key) => both.map(([, side]) => rateShort(side[key])).join(' → ');

function bar(side, when) {
  const total = side.outcomes.reduce((sum, one) => sum + one, 0) || 1;
  return h('span', {class: `bar ${when}`}, D.outcome_order.map(place => side.outcomes[place] ?
    h('i', {class: D.outcomes[place].id, style: {'flex-grow': String(side.outcomes[place] / total)}}) : null));
}
function ratesText(side) {
  return RATES.map(([key, name]) => side[key] ? `${name.toLowerCase()} ${percent(side[key][0])} (${range(side[key][1], side[key][2])}, n = ${side[key][3]})` : `${name.toLowerCase()}: unknown`).join(', ');
}
function sides(cell) {
  return [['before', cell.before], ['after', cell.after]].filter(([, side]) => side);
}
function cellTip(cell) {
  const both = sides(cell);
  return [h('b', {}, `${languageName(cell.language)}, ${scenarioName(cell.scenario).toLowerCase()}, ${benchmarkName(cell.benchmark)}`),
    cell.coincides ? h('div', {class: 'soft'}, `the same text as ${scenarioName(cell.coincides).toLowerCase()}`) : null,
    h('table', {}, both.length > 1 ? h('tr', {}, h('th', {}), both.map(([when]) => h('th', {}, when))) : null,
      D.outcome_order.map(place => h('tr', {}, h('td', {}, h('span', {class: `swatch ${D.outcomes[place].id}`}), D.outcomes[place].name), both.map(([, side]) => h('td', {}, side.outcomes[place])))),
      RATES.map(([key, name]) => h('tr', {class: 'rate'}, h('td', {}, name), both.map(([, side]) => h('td', {}, side[key] ? [percent(side[key][0]), h('small', {}, `${range(side[key][1], side[key][2])}, n = ${side[key][3]}`)] : '–')))))];
}

function cellButton(cell, rateKey) {
  const both = sides(cell);
  const label = `${benchmarkName(cell.benchmark)}, ${scenarioName(cell.scenario)}, ${languageName(cell.language)}. ` + both.map(([when, side]) =>
    `${when}: ${D.outcome_order.map(place => `${side.outcomes[place]} ${D.outcomes[place].name.toLowerCase()}`).join(', ')}; ${ratesText(side)}`).join('. ') + '. Show these answers.';
  const button = h('button', {type: 'button', class: `cell-button${cell.coincides ? ' same' : ''}`, tabindex: -1, 'aria-label': label,
    onclick: () => openAnswers({benchmark: cell.benchmark, scenario: cell.scenario, language: cell.language})},
  both.map(([when, side]) => bar(side, when)), h('span', {class: 'rate', 'data-language': rateOf(both, 'language'), 'data-task': rateOf(both, 'task')}, cell.coincides ? '=' : rateOf(both, rateKey)));
  button.addEventListener('pointermove', event => showTip(event.clientX, event.clientY, ...cellTip(cell).filter(Boolean)));
  button.addEventListener('pointerleave', hideTip);
  button.addEventListener('focus', () => { const box = button.getBoundingClientRect(); if (button.matches(':focus-visible')) showTip(box.right, box.top, ...cellTip(cell).filter(Boolean)); });
  button.addEventListener('blur', hideTip);
  return button;
}

/* One stop for the tab key; arrows move inside. */
function gridKeys(table) {
  const at = () => [...table.querySelectorAll('tbody tr')].map(row => [...row.querySelectorAll('td')].map(cell => cell.querySelector('button')));
  const first = table.querySelector('.cell-button');
  if (first) first.tabIndex = 0;
  table.addEventListener('keydown', event => {
    const move = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
    if (!move || !event.target.matches('.cell-button')) return;
    event.preventDefault();
    const rows = at();
    let row = rows.findIndex(one => one.includes(event.target));
    let column = rows[row].indexOf(event.target);
    do { row += move[0]; column += move[1]; } while (rows[row] && column in rows[row] && !rows[row][column]);
    const next = rows[row] && rows[row][column];
    if (next) { event.target.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  });
}

function drawOutcomes() {
  const figure = figureOf('outcomes');
  if (!figure || !D.cells.length) return;
  let rateKey = 'language';
  const languages = D.languages.map(one => one.code).filter(code => D.cells.some(cell => cell.language === code));
  const scenarios = D.scenarios.map(one => one.id);
  const tables = D.benchmarks.map(one => one.id).map(benchmark => {
    const table = h('table', {class: 'outcome-map'}, h('caption', {}, benchmarkName(benchmark)),
      h('thead', {}, h('tr', {}, h('td', {class: 'names'}), scenarios.map(scenario => h('th', {scope: 'col'}, scenarioName(scenario).replace('Monolingual', 'Mono\u00adlingual'))))),
      h('tbody', {}, languages.map(code => h('tr', {}, h('th', {scope: 'row', class: 'names'}, swatch(code), languageName(code)),
        scenarios.map(scenario => { const cell = cellsByKey.get(cellKey(benchmark, scenario, code)); return h('td', {}, cell ? cellButton(cell, rateKey) : h('span', {class: 'soft'}, '–')); })))));
    gridKeys(table);
    return table;
  });
  const tools = h('div', {class: 'tools'}, choice('Figure shown under the bars', RATES, rateKey, value => {
    rateKey = value;
    figure.querySelectorAll('.cell-button:not(.same) .rate').forEach(one => { one.textContent = one.dataset[value]; });
  }));
  put(figure, tools, h('div', {class: `outcome-maps${tables.length <= 3 ? ' joined' : ''}`, style: {'--n': String(tables.length)}}, tables));
  const sizes = [...new Set(D.cells.filter(cell => cell.before).map(cell => cell.before.n))].sort((a, b) => a - b);
  const note = document.getElementById('cell-n');
  if (note && sizes.length) note.textContent = sizes.length === 1 ? `, ${sizes[0]} in a cell` : `, ${sizes[0]} to ${sizes[sizes.length - 1]} in a cell`;
  if (D.cells.some(cell => cell.coincides)) figure.querySelector('figcaption').append(' “=” marks a cell whose prompts are the same text as another scenario’s.');
}
