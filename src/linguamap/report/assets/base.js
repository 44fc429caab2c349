/* The data, small builders of elements, names, numbers, and what all figures share. */
const D = JSON.parse(document.getElementById('run-data').textContent);
const SVG = 'http://www.w3.org/2000/svg';

/* All text goes in as text nodes; nothing here ever parses markup. */
function build(element, attributes, kids) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'style') for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
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

const placeOf = new Map(D.languages.map((one, place) => [one.code, place]));
const languageName = code => code === '' || code === null ? 'unplaced' : placeOf.has(code) ? D.languages[placeOf.get(code)].name : code;
const colour = code => placeOf.has(code) ? `var(--lang-${placeOf.get(code)})` : 'var(--unplaced)';
const scenarioName = id => (D.scenarios.find(one => one.id === id) || {name: id}).name;
const benchmarkName = id => (D.benchmarks.find(one => one.id === id) || {name: id.charAt(0).toUpperCase() + id.slice(1)}).name;

function percent(share) {
  if (share === null || share === undefined) return '–';
  const value = 100 * share;
  if ((value > 0 && value < 1) || (value > 99 && value < 100)) {
    const short = value.toFixed(1);
    return short === '0.0' ? '<0.1%' : short === '100.0' ? '>99.9%' : short + '%';
  }
  return Math.round(value) + '%';
}
const bare = share => percent(share).replace('%', '');
const range = (low, high) => low === null || high === null ? '' : `${bare(low)}–${percent(high)}`;
const round = value => Math.round(value * 100) / 100;
const plural = (n, one, many) => `${n.toLocaleString('en')} ${n === 1 ? one : many || one + 's'}`;
const swatch = code => h('span', {class: 'dot', style: {'background': colour(code)}, 'aria-hidden': 'true'});

/* One layer is under the pointer in all figures at once. */
const cursor = {layer: null, listeners: new Set()};
function setLayer(layer) {
  if (layer === cursor.layer) return;
  cursor.layer = layer;
  cursor.listeners.forEach(listen => listen(layer));
}

const tip = document.getElementById('tip');
function showTip(x, y, ...kids) {
  tip.replaceChildren(...kids.flat());
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > innerWidth ? x - box.width - 12 : x + 16;
  const top = Math.min(Math.max(8, y - box.height / 2), innerHeight - box.height - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${top}px`;
}
const hideTip = () => { tip.hidden = true; };
addEventListener('scroll', hideTip, {passive: true});
addEventListener('keydown', event => { if (event.key === 'Escape') hideTip(); });
let speaking;
function announce(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { document.getElementById('live').textContent = text; }, 120);
}

/* Draw again when the width changes; drawing costs milliseconds. */
function responsive(host, draw) {
  let width = 0;
  const again = () => {
    const now = Math.floor(host.clientWidth);
    if (now > 0 && now !== width) { width = now; host.replaceChildren(draw(now)); }
  };
  new ResizeObserver(again).observe(host);
  again();
  return () => { width = 0; again(); };
}

/* A row of radio buttons that looks like one switch. */
let groups = 0;
function choice(label, options, chosen, change) {
  const name = `choice-${++groups}`;
  return h('fieldset', {class: 'choice'}, h('legend', {class: 'unseen'}, label), options.map(([value, text]) =>
    h('label', {}, h('input', {type: 'radio', name, value, checked: value === chosen, onchange: () => change(value)}), h('span', {}, text))));
}
function select(label, options, chosen, change) {
  const list = h('select', {onchange: event => change(event.target.value)}, options.map(([value, text]) =>
    h('option', {value, selected: value === chosen}, text)));
  return h('label', {class: 'pick'}, h('span', {}, label), list);
}

/* The numbers behind a figure, as a table that is built when opened. */
function numbers(make) {
  const details = h('details', {class: 'behind'}, h('summary', {}, 'The numbers'));
  details.addEventListener('toggle', () => {
    if (!details.open || details.children.length > 1) return;
    const {head, rows} = make();
    details.append(h('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'The numbers behind the figure'},
      h('table', {class: 'numbers'}, h('thead', {}, h('tr', {}, head.map(cell => h('th', {scope: 'col'}, cell)))),
        h('tbody', {}, rows.map(([first, ...rest]) => h('tr', {}, h('th', {scope: 'row'}, first), rest.map(cell => h('td', {}, cell))))))));
  });
  return details;
}

/* Chips that name languages by colour; pressing one brings its lines forward. */
function languageKey(figure, codes) {
  let held = null;
  const show = code => figure.querySelectorAll('[data-code]').forEach(one => one.classList.toggle('dim', code !== null && one.dataset.code !== code));
  const chips = codes.map(code => h('button', {type: 'button', class: 'chip', 'aria-pressed': 'false',
    onpointerenter: () => show(code), onpointerleave: () => show(held), onfocus: () => show(code), onblur: () => show(held),
    onclick: event => {
      held = held === code ? null : code;
      chips.forEach(chip => chip.setAttribute('aria-pressed', String(held !== null && chip === event.currentTarget)));
      show(held);
    }}, swatch(code), languageName(code)));
  return h('div', {class: 'chips', role: 'group', 'aria-label': 'Bring a language forward'}, chips);
}
const figureOf = name => document.querySelector(`[data-figure="${name}"]`);
function put(figure, ...kids) {
  figure.hidden = false;
  kids.flat().filter(Boolean).forEach(kid => figure.insertBefore(kid, figure.querySelector('figcaption')));
}
