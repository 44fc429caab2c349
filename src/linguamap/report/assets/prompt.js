/* A prompt with its parts told apart: a name in the margin, labels and framing in a quieter tone. */
const PART_NAMES = {examples: 'Worked examples', preamble: 'Preamble', instruction: 'Instruction', passage: 'Passage', question: 'Question', options: 'Options', answer_label: 'Answer label'};
const ROLES = {examples: 'I', preamble: 'P', instruction: 'I', label: 'I', answer_label: 'I', passage: 'Q', question: 'Q', options: 'Q'};
const LINE_BREAK = /\r\n|[\n\u2028\u2029]/;

function partsOf(row) {
  const stored = row[ROW.parts];
  if (!stored) return null;
  const text = promptOf(row);
  let from = 0;
  return A.layouts[stored[0]].map((name, place) => ({name, text: text.slice(from, from += stored[place + 1])}));
}
/* What stands around the question is English in a code-mixed prompt; offers may be in either; the control is in a language that the row does not name. */
function languageOfPart(name, text, row) {
  if (scenarioOf(row) === 'other_language') return null;
  if (scenarioOf(row) === 'code_mixed' && ROLES[name] !== 'Q') return 'en';
  return name === 'options' && !/(?!\p{Script=Latin})\p{L}/u.test(text) && !['monolingual', 'code_mixed'].includes(scenarioOf(row)) ? null : languageOf(row);
}
function promptLines(parts) {
  const lines = [[]];
  parts.forEach(part => part.text.split(LINE_BREAK).forEach((text, place) => {
    if (place) lines.push([]);
    if (text !== '') lines[lines.length - 1].push({name: part.name, text});
  }));
  return lines;
}
function promptView(row, find) {
  const parts = partsOf(row);
  if (!parts) return prose(promptOf(row), line => promptLanguage(line, row), find);
  let last = null;
  return h('div', {class: 'parts'}, promptLines(parts).map(line => {
    if (!line.length) return h('div', {class: 'part-gap'});
    const main = (line.find(piece => piece.name !== 'label') || line[0]).name;
    const named = main === 'label' || main === last ? '' : PART_NAMES[main];
    if (main !== 'label') last = main;
    const own = line.find(piece => piece.name === main);
    return h('div', {class: `part ${ROLES[main]}`}, h('span', {class: 'part-name'}, named ? [h('i', {'aria-hidden': 'true'}, ROLES[main]), named] : null),
      h('div', {class: 'line-of-text', dir: 'auto', lang: languageOfPart(main, own.text, row)}, line.map(piece => h('span', {class: `piece ${piece.name}`, lang: languageOfPart(piece.name, piece.text, row)}, visible(piece.text, find)))));
  }));
}
