/* A model's text, shown as what it is: no markup, no control characters at work, right direction. */
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const CONTROL_NAMES = {0x00: 'NUL', 0x07: 'BEL', 0x0d: 'CR', 0x1b: 'ESC', 0x202a: 'LRE', 0x202b: 'RLE', 0x202c: 'PDF', 0x202d: 'LRO', 0x202e: 'RLO', 0x2066: 'LRI', 0x2067: 'RLI', 0x2068: 'FSI', 0x2069: 'PDI', 0x200b: 'ZWSP', 0xfeff: 'BOM'};

/* Text nodes with every invisible control replaced by its name, and found words marked. */
function visible(text, find) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(CONTROLS)) {
    if (match.index > from) parts.push(...marked(text.slice(from, match.index), find));
    const code = match[0].charCodeAt(0);
    parts.push(h('span', {class: 'control', title: 'a control character in the model’s text'}, CONTROL_NAMES[code] || 'U+' + code.toString(16).toUpperCase().padStart(4, '0')));
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push(...marked(text.slice(from), find));
  return parts;
}
function marked(text, find) {
  if (!find) return [text];
  const low = text.toLowerCase();
  if (low.length !== text.length) return [text];
  const parts = [];
  let from = 0;
  for (let at = low.indexOf(find); at >= 0 && parts.length < 200; at = low.indexOf(find, from)) {
    parts.push(text.slice(from, at), h('mark', {}, text.slice(at, at + find.length)));
    from = at + find.length;
  }
  return [...parts, text.slice(from)].filter(part => part !== '');
}
/* Each line decides its own direction, so a right-to-left answer with numbers in it reads right. */
function prose(text, language, find) {
  const languageOfLine = typeof language === 'function' ? language : () => language || null;
  return text.split(/\r\n|[\n\u2028\u2029]/).map(line => h('div', {class: 'line-of-text', dir: 'auto', lang: languageOfLine(line)}, line === '' ? '\u00a0' : visible(line, find)));
}
/* A prompt may mix languages: English instructions, and letters that only the target's script has. Or it is all in another one. */
const promptLanguage = (line, row) => scenarioOf(row) === 'other_language' ? null : scenarioOf(row) !== 'code_mixed' || /(?!\p{Script=Latin})\p{L}/u.test(line) ? languageOf(row) : null;
const inline = (text, language) => h('bdi', {lang: language || null, dir: 'auto'}, visible(text));

const A = D.answers;
const ROW = {benchmark: 0, scenario: 1, language: 2, item: 3, lines: 4, gold: 5, coincides: 6, before: 7, after: 8, parts: 9};
const ANSWER = {outcome: 0, text: 1, extracted: 2, language: 3, reason: 4, thinking: 5, finish: 6, cut: 7, option: 8};
const benchmarkOf = row => A.benchmarks[row[ROW.benchmark]];
const scenarioOf = row => A.scenarios[row[ROW.scenario]];
const languageOf = row => A.languages[row[ROW.language]];
const promptOf = row => row[ROW.lines].map(number => A.lines[number]).join('\n');
const outcomeOf = answer => answer ? A.outcomes[answer[ANSWER.outcome]] : null;
const outcomeName = id => (D.outcomes.find(one => one.id === id) || {name: id}).name;
const WHENS = ['before', 'after'].filter(when => A.rows.some(row => row[ROW[when]]));

function answerBlock(row, when, find) {
  const answer = row[ROW[when]];
  if (!answer) return h('div', {class: 'answer'}, h('p', {class: 'soft'}, `No answer ${when} tuning.`));
  const outcome = outcomeOf(answer);
  const spoken = answer[ANSWER.language];
  const details = [];
  if (answer[ANSWER.extracted] !== null) details.push(['taken as ', inline(answer[ANSWER.extracted], spoken)]);
  details.push(spoken ? ['in ', languageName(spoken)] : ['language not identified']);
  if (answer[ANSWER.option]) details.push([`chose the option in ${languageName(answer[ANSWER.option])}`]);
  if (answer[ANSWER.reason]) details.push([answer[ANSWER.reason].replace(/_/g, ' ')]);
  if (answer[ANSWER.finish] === 'length') details.push(['stopped at the token limit']);
  return h('div', {class: 'answer'}, h('div', {class: 'answer-head'}, h('span', {class: `swatch ${outcome}`, 'aria-hidden': 'true'}), WHENS.length > 1 ? h('b', {}, when === 'before' ? 'Before: ' : 'After: ') : null, outcomeName(outcome).toLowerCase()),
    answer[ANSWER.thinking] ? h('details', {}, h('summary', {}, 'Thinking'), h('div', {class: 'model-text'}, prose(answer[ANSWER.thinking], null, find))) : null,
    h('div', {class: 'model-text'}, answer[ANSWER.text] ? prose(answer[ANSWER.text], spoken || languageOf(row), find) : h('span', {class: 'soft'}, 'an empty answer')),
    answer[ANSWER.cut] ? h('p', {class: 'soft'}, `Cut here: ${plural(answer[ANSWER.cut], 'more character')} in ${when}/answers.jsonl.`) : null,
    h('p', {class: 'answer-foot'}, details.map((part, place) => [place ? ' · ' : '', part])));
}

/* One question with its answers; opened prompts show each line in its own direction. */
function card(row, find) {
  const language = languageOf(row);
  const prompt = promptOf(row);
  return h('article', {class: 'card', 'aria-label': `${languageName(language)}, ${scenarioName(scenarioOf(row))}, ${benchmarkOf(row)}, item ${row[ROW.item]}`},
    h('header', {}, h('span', {class: 'who'}, swatch(language), languageName(language)), h('span', {}, scenarioName(scenarioOf(row))), h('span', {}, benchmarkName(benchmarkOf(row))), h('span', {class: 'soft'}, visible(row[ROW.item])),
      row[ROW.coincides] >= 0 ? h('span', {class: 'soft'}, `same text as ${scenarioName(A.scenarios[row[ROW.coincides]]).toLowerCase()}`) : null),
    h('div', {class: 'card-body'}, h('details', {class: 'prompt', open: Boolean(find) && prompt.toLowerCase().includes(find)}, h('summary', {}, h('span', {class: 'prompt-word'}, 'Prompt'), h('bdi', {class: 'teaser', dir: 'auto', lang: language}, teaser(row))), h('div', {class: 'model-text'}, promptView(row, find))),
      row[ROW.gold].length ? h('p', {class: 'gold'}, 'Right answer: ', row[ROW.gold].map((gold, place) => [place ? ' or ' : '', inline(gold)])) : null,
      h('div', {class: WHENS.length > 1 ? 'answers-pair' : ''}, WHENS.map(when => answerBlock(row, when, find)))));
}

/* The question itself; where the parts are not known, the last line that asks, or else the longest. */
function teaser(row) {
  const question = (partsOf(row) || []).find(part => part.name === 'question');
  if (question) return visible(question.text.trim().slice(0, 240));
  const lines = row[ROW.lines].map(number => A.lines[number]).filter(line => line.trim());
  const asked = lines.filter(line => /[?？؟;]\s*$/.test(line)).pop();
  return visible((asked || lines.slice(2).sort((a, b) => b.length - a.length)[0] || promptOf(row)).slice(0, 240));
}

function drawExamples() {
  const list = document.getElementById('example-list');
  if (list) list.append(...D.examples.map(place => card(A.rows[place])));
}
