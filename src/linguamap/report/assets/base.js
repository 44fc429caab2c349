/* The data, names and numbers that the answers share. */
const D = JSON.parse(document.getElementById('run-data').textContent);
const placeOf = new Map(D.languages.map((one, place) => [one.code, place]));
const languageName = code => code === '' || code === null ? 'unplaced' : placeOf.has(code) ? D.languages[placeOf.get(code)].name : code;
const scenarioName = id => (D.scenarios.find(one => one.id === id) || {name: id}).name;
const benchmarkName = id => (D.benchmarks.find(one => one.id === id) || {name: id.charAt(0).toUpperCase() + id.slice(1)}).name;

const plural = (n, one, many) => `${n.toLocaleString('en')} ${n === 1 ? one : many || one + 's'}`;
const swatch = code => h('i', {class: placeOf.has(code) ? `dot lang-${placeOf.get(code)}` : 'dot', 'aria-hidden': 'true'});
