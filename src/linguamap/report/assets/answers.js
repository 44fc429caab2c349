/* Search and filter all answers; the filter lives in the address, so it can be shared and gone back to. */
const PAGE = 20;
const filter = {benchmark: '', scenario: '', language: '', before: '', after: '', words: ''};
let shownRows = PAGE;
let searchable = null;
let browser = null;

function textOf(place) {
  if (!searchable) searchable = new Array(A.rows.length);
  if (searchable[place] === undefined) {
    const row = A.rows[place];
    searchable[place] = [row[ROW.item], promptOf(row), ...row[ROW.gold], ...['before', 'after'].flatMap(when => row[ROW[when]] ? [row[ROW[when]][ANSWER.text], row[ROW[when]][ANSWER.extracted] || ''] : [])].join('\n').toLowerCase();
  }
  return searchable[place];
}
function matches(row, place, but) {
  return (but === 'benchmark' || !filter.benchmark || benchmarkOf(row) === filter.benchmark)
    && (but === 'scenario' || !filter.scenario || scenarioOf(row) === filter.scenario)
    && (but === 'language' || !filter.language || languageOf(row) === filter.language)
    && (but === 'before' || !filter.before || outcomeOf(row[ROW.before]) === filter.before)
    && (but === 'after' || !filter.after || outcomeOf(row[ROW.after]) === filter.after)
    && (!filter.words || textOf(place).includes(filter.words));
}
function addressOf() {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, value);
  const text = query.toString();
  return text ? `#answers?${text}` : '#answers';
}
function readAddress() {
  if (!location.hash.startsWith('#answers?')) return false;
  const query = new URLSearchParams(location.hash.slice('#answers?'.length));
  for (const name of Object.keys(filter)) filter[name] = query.get(name) || '';
  return true;
}
function toAnswers() {
  hideTip();
  document.getElementById('answers').scrollIntoView();
  const heading = document.querySelector('#answers h2');
  heading.tabIndex = -1;
  heading.focus({preventScroll: true});
}
function changed() {
  shownRows = PAGE;
  try { history.replaceState(null, '', addressOf()); } catch { /* some browsers keep a file's address fixed */ }
  refresh();
}

function outcomeCounts(when) {
  const counts = new Map();
  A.rows.forEach((row, place) => {
    const outcome = outcomeOf(row[ROW[when]]);
    if (outcome && matches(row, place, when)) counts.set(outcome, (counts.get(outcome) || 0) + 1);
  });
  return counts;
}
function outcomeChips(when, label) {
  const counts = outcomeCounts(when);
  return h('div', {class: 'facet', role: 'group', 'aria-label': label}, h('span', {class: 'facet-name'}, label), D.outcome_order.map(place => D.outcomes[place]).map(one =>
    h('button', {type: 'button', class: 'chip', 'data-outcome': one.id, 'data-when': when, 'aria-pressed': String(filter[when] === one.id), disabled: !counts.get(one.id) && filter[when] !== one.id,
      onclick: () => { filter[when] = filter[when] === one.id ? '' : one.id; changed(); refocus(when, one.id); }}, h('span', {class: `swatch ${one.id}`, 'aria-hidden': 'true'}), one.name, h('small', {}, (counts.get(one.id) || 0).toLocaleString('en')))));
}
function refocus(when, outcome) {
  const again = browser.facets.querySelector(`[data-when="${when}"][data-outcome="${outcome}"]`);
  if (again) again.focus();
}

function refresh() {
  if (!browser) return;
  for (const name of ['benchmark', 'scenario', 'language']) browser[name].value = filter[name];
  if (document.activeElement !== browser.words) browser.words.value = filter.words;
  const found = A.rows.filter((row, place) => matches(row, place));
  browser.facets.replaceChildren(...WHENS.map(when => outcomeChips(when, WHENS.length > 1 ? (when === 'before' ? 'Before' : 'After') : 'Outcome')));
  const any = Object.values(filter).some(Boolean);
  browser.count.textContent = `${plural(found.length, 'prompt')}${any ? ` of ${A.rows.length.toLocaleString('en')}` : ''}`;
  browser.clear.hidden = !any;
  const part = found.slice(0, shownRows);
  browser.list.replaceChildren(...part.map(row => card(row, filter.words)));
  if (!found.length) browser.list.append(h('p', {class: 'missing'}, 'No answer fits all of these. Take one of the filters away.'));
  browser.more.hidden = found.length <= shownRows;
  browser.more.textContent = `Show ${Math.min(PAGE, found.length - shownRows)} more of ${(found.length - shownRows).toLocaleString('en')}`;
}

function drawAnswers() {
  const host = document.getElementById('browser');
  if (!host || !A.rows.length) return;
  const list = (names, all, name) => h('select', {'aria-label': name, onchange: event => { filter[name] = event.target.value; changed(); }}, h('option', {value: ''}, all), names.map(([value, text]) => h('option', {value}, text)));
  let waiting;
  browser = {
    words: h('input', {type: 'search', placeholder: 'Search prompts and answers', 'aria-label': 'Search prompts and answers', spellcheck: 'false', dir: 'auto', oninput: event => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { filter.words = event.target.value.trim().toLowerCase(); changed(); }, 150);
    }}),
    language: list(D.languages.filter(one => A.languages.includes(one.code)).map(one => [one.code, one.native === one.name ? one.name : `${one.name} · ${one.native}`]), 'All languages', 'language'),
    scenario: list(D.scenarios.filter(one => A.scenarios.includes(one.id)).map(one => [one.id, one.name]), 'All scenarios', 'scenario'),
    benchmark: list(A.benchmarks.map(one => [one, benchmarkName(one)]), 'All benchmarks', 'benchmark'),
    facets: h('div', {class: 'facets'}), count: h('span', {role: 'status'}), list: h('div', {class: 'cards'}),
    clear: h('button', {type: 'button', class: 'plain underlined', onclick: () => { for (const name of Object.keys(filter)) filter[name] = ''; changed(); browser.words.focus(); }}, 'Clear all'),
    more: h('button', {type: 'button', class: 'more', onclick: () => { const from = shownRows; shownRows += PAGE; refresh(); const next = browser.list.children[from]; if (next) { next.tabIndex = -1; next.focus({preventScroll: true}); } }}),
  };
  const notes = [];
  if (A.left_out) notes.push(`${plural(A.left_out, 'prompt')} of ${A.total.toLocaleString('en')} did not fit into this page and are only in the run folder; those here are spread evenly over all of them.`);
  if (A.cut) notes.push(`Answers longer than ${A.cut.toLocaleString('en')} characters are cut; the run folder has them whole.`);
  host.append(h('div', {class: 'tools search', role: 'search'}, browser.words, browser.language, browser.scenario, browser.benchmark), browser.facets,
    h('p', {class: 'result'}, browser.count, browser.clear), browser.list, browser.more, ...notes.map(note => h('p', {class: 'fine note'}, note)));
  const fromAddress = readAddress();
  refresh();
  if (fromAddress) toAnswers();
  addEventListener('popstate', () => {
    const leads = readAddress();
    if (!leads) for (const name of Object.keys(filter)) filter[name] = '';
    shownRows = PAGE;
    refresh();
    if (leads) toAnswers();
  });
}
