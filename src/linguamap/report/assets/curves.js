/* What solid, dashed and short strokes mean. */
const STROKES = {before: 'before tuning', after: 'after tuning', ceiling: 'identifier’s ceiling', noise: 'English among random tokens'};
const strokes = (...kinds) => h('div', {class: 'line-key'}, kinds.map(kind => h('span', {}, h('i', {class: `stroke ${kind}`, 'aria-hidden': 'true'}), STROKES[kind])));

/* The probes: lens per language, similarity with its controls, handover, and the loss. */
function drawLens() {
  const figure = figureOf('lens');
  const {before, after} = C.lens;
  if (!figure || !before) return;
  const targets = D.languages.map(one => one.code).filter(code => before[code]);
  const series = code => {
    const list = [];
    for (const [lens, when] of [[before, ''], [after, 'after']]) {
      const target = lens && lens[code];
      if (!target) continue;
      for (const word of code === C.pivot ? [code] : [C.pivot, code]) {
        if (!target.curves[word]) continue;
        const name = languageName(word) + (when ? ', after' : after ? ', before' : '');
        list.push({code: word, name, long: `${languageName(code)} asked, ${name}`, curve: target.curves[word], band: !when, style: when});
      }
    }
    return list;
  };
  const panels = targets.map((code, place) => {
    const own = series(code);
    const crossing = (C.overtakes.before || {})[code];
    const curve = before[code].curves[code];
    const at = crossing === null || crossing === undefined ? -1 : valueAt(curve, crossing);
    const ends = own.filter(one => !one.style).map(one => `${one.name} ends at ${percent(one.curve.y[one.curve.y.length - 1])}`);
    return linePanel({title: languageName(code), code, note: before[code].n_items ? plural(before[code].n_items, 'item') : null, series: own, first: place === 0,
      ceilings: C.ceilings[code] === undefined ? [] : [[code, C.ceilings[code]]],
      levels: C.noise === null || code === C.pivot ? [] : [[C.noise, '']],
      dots: at === null || at < 0 ? [] : [[crossing, curve.y[at], code, crossing]],
      label: `Asked for ${languageName(code)}: ${ends.join(', ')}${crossing ? `, ${languageName(code)} overtakes English at layer ${crossing}` : ''}. Arrow keys read the layers.`});
  });
  put(figure, strokes(...(after ? ['before', 'after'] : []), 'ceiling', ...(C.noise === null ? [] : ['noise'])),
    h('div', {class: 'multiples'}, panels), numbers(() => curveTable(targets.flatMap(series), percent)));
}

const MEASURES = [
  ['cosine', 'Raw cosine', 'high for anything', 'cosine_unrelated', [0, 1]],
  ['centred', 'Centred cosine', 'each language’s mean taken off', 'centred_unrelated', [-0.2, 1]],
  ['retrieval', 'Translation found', 'first among all candidates', null, [0, 1]],
  ['cka', 'Debiased CKA', 'sets of texts, not pairs', null, [0, 1]],
];
const fixed = value => (Math.round(value * 100) / 100).toFixed(2).replace('-', '−');

function drawSimilarity() {
  const figure = figureOf('similarity');
  if (!figure || !C.similarity.before) return;
  const all = C.similarity.before;
  const codes = D.languages.map(one => one.code).filter(code => all.some(one => one.a === code || one.b === code));
  const kinds = [...new Set(all.map(one => one.kind))];
  const state = {pivot: codes.includes(C.pivot) ? C.pivot : codes[0], kind: kinds.includes('all') ? 'all' : kinds[0], when: 'before'};
  const body = h('div', {});
  const chosen = measure => C.similarity[state.when].filter(one => one.measure === measure && one.kind === state.kind && (one.a === state.pivot || one.b === state.pivot))
    .map(one => { const code = one.a === state.pivot ? one.b : one.a; return {code, name: languageName(code), curve: one, n: one.n}; });
  const seriesOf = ([measure, , , control]) => [...(control ? chosen(control).map(one => ({...one, name: `${one.name}, unrelated`, style: 'control'})) : []), ...chosen(measure).map(one => ({...one, band: true}))];
  const draw = () => {
    const panels = MEASURES.map((entry, place) => {
      const [measure, title, note, , domain] = entry;
      const series = seriesOf(entry);
      if (!series.length) return null;
      const n = Math.max(...series.map(one => one.n || 0));
      return linePanel({title, note, series, domain, format: measure === 'retrieval' ? undefined : fixed, first: place === 0, height: 210,
        levels: measure === 'retrieval' && n > 1 ? [[1 / n, 'chance']] : [], label: `${title} with ${languageName(state.pivot)} by layer. Arrow keys read the layers.`});
    });
    body.replaceChildren(languageKey(figure, codes.filter(code => code !== state.pivot)), h('div', {class: 'multiples two'}, panels.filter(Boolean)),
      numbers(() => curveTable(MEASURES.flatMap(entry => seriesOf(entry).map(one => ({...one, long: `${entry[1]}, ${one.name}`}))), fixed)));
  };
  put(figure, h('div', {class: 'tools'}, select('Compared with', codes.map(code => [code, languageName(code)]), state.pivot, value => { state.pivot = value; draw(); }),
    kinds.length > 1 ? select('Texts', kinds.map(kind => [kind, kind === 'all' ? 'All kinds' : benchmarkName(kind)]), state.kind, value => { state.kind = value; draw(); }) : null,
    C.similarity.after ? choice('Which model', [['before', 'Before tuning'], ['after', 'After tuning']], state.when, value => { state.when = value; draw(); }) : null), body);
  draw();
}

const DIRECTIONS = {
  to_english: ['English state into the target’s prompt', 'next words that turn English'],
  from_english: ['Target’s state into the English prompt', 'next words that turn to the target'],
  skip: ['One block left out', 'next words still in the target language'],
};
function drawHandover() {
  const figure = figureOf('handover');
  if (!figure || !C.handover.before) return;
  const order = Object.keys(DIRECTIONS);
  const directions = [...new Set(C.handover.before.map(one => one.direction))].sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const seriesOf = direction => ['before', 'after'].flatMap(when => (C.handover[when] || []).filter(one => one.direction === direction)
    .map(one => ({code: one.language, name: languageName(one.language) + (C.handover.after ? `, ${when}` : ''), curve: one, band: when === 'before', style: when === 'after' ? 'after' : '', n: one.n})));
  const codes = D.languages.map(one => one.code).filter(code => C.handover.before.some(one => one.language === code));
  const panels = directions.map((direction, place) => {
    const [title, note] = DIRECTIONS[direction] || [direction.replace(/_/g, ' '), 'next words that follow'];
    const n = Math.max(...seriesOf(direction).map(one => one.n || 0));
    return linePanel({title, note: `${note}${n ? `, n = ${n}` : ''}`, series: seriesOf(direction), first: place === 0, height: 220, levels: direction === 'skip' ? [] : [[0.5, 'half']],
      starts: seriesOf(direction).filter(one => one.style === '' && one.curve.plain !== null).map(one => [one.code, one.curve.plain]),
      label: `${title}, by layer. Arrow keys read the layers.`});
  });
  put(figure, languageKey(figure, codes), C.handover.after ? strokes('before', 'after') : null,
    h('div', {class: panels.length === 2 ? 'multiples two' : 'multiples'}, panels), numbers(() => curveTable(directions.flatMap(direction => seriesOf(direction).map(one => ({...one, long: `${(DIRECTIONS[direction] || [direction])[0]}, ${one.name}`}))), percent)));
}

function drawMoved() {
  const figure = figureOf('moved');
  if (!figure || !D.moved || !D.moved.length) { if (figure) figure.remove(); return; }
  const top = Math.max(...D.moved.map(([, value]) => value)) || 1;
  const host = h('div', {});
  responsive(host, width => {
    const step = (width - 34) / (L + 1);
    const x = layer => 34 + (layer + 0.5) * step;
    const y = value => 12 + (1 - value / top) * 78;
    return s('svg', {viewBox: `0 0 ${width} 118`, role: 'img', 'aria-label': `Mean change of the lens curves by layer: ${D.moved.map(([layer, value]) => `${layer}: ${percent(value)}`).join(', ')}`},
      s('g', {class: 'axis'}, s('line', {class: 'grid', x1: 34, x2: width, y1: y(0), y2: y(0)}), s('text', {x: 28, y: y(top) + 4, 'text-anchor': 'end'}, percent(top)), s('text', {x: 28, y: y(0) + 4, 'text-anchor': 'end'}, '0%')),
      D.moved.map(([layer, value]) => s('rect', {class: C.tuned.includes(layer) ? 'moved tuned-here' : 'moved', x: round(x(layer) - step * 0.4), width: round(step * 0.8), y: round(y(value)), height: round(Math.max(0, y(0) - y(value)))})),
      layerAxis(x, y(0), width), tunedMarks(x, y(0) + 2, step, false));
  });
  put(figure, host);
}

function drawLoss() {
  const figure = figureOf('loss');
  if (!figure || !D.loss) { if (figure) figure.remove(); return; }
  const names = {train_loss: 'training', validation_loss: 'validation'};
  const curves = Object.entries(D.loss);
  const keptAt = values => Number.isInteger(D.kept_epoch) && typeof values[D.kept_epoch - 1] === 'number' ? D.kept_epoch - 1 : null;
  const kept = curves.some(([, values]) => keptAt(values) !== null) ? ` The ringed epoch, ${D.kept_epoch}, is the one that was kept.` : '';
  document.getElementById('kept-epoch').textContent = kept;
  const top = Math.max(...curves.flatMap(([, values]) => values.filter(value => value !== null))) * 1.1;
  const text = curves.map(([key, values]) => `${names[key]} ${values.map(value => value === null ? 'none' : value.toFixed(2)).join(', ')}`).join('; ');
  const host = h('div', {});
  responsive(host, width => {
    const x = (place, count) => 34 + (count > 1 ? place / (count - 1) : 0.5) * (width - 34 - 76);
    const y = value => 10 + (1 - value / top) * 110;
    return s('svg', {viewBox: `0 0 ${width} 142`, class: 'lines', role: 'img', 'aria-label': `Loss by epoch: ${text}.${kept}`},
      s('g', {class: 'axis'}, [0, top / 1.1].map(value => [s('line', {class: 'grid', x1: 34, x2: width - 76, y1: y(value), y2: y(value)}), s('text', {x: 28, y: y(value) + 4, 'text-anchor': 'end'}, value.toFixed(value ? 2 : 0))])),
      curves.map(([key, values], index) => s('g', {style: {'--c': index ? 'var(--soft)' : 'var(--ink)'}}, s('path', {class: `line ${index ? 'after' : ''}`, d: values.map((value, place) => value === null ? '' : `${place && values[place - 1] !== null ? 'L' : 'M'}${round(x(place, values.length))} ${round(y(value))}`).join('')}),
        keptAt(values) === null ? null : s('circle', {class: 'kept', cx: x(keptAt(values), values.length), cy: y(values[keptAt(values)]), r: 6}),
        values.length <= 30 ? values.map((value, place) => value === null ? null : s('circle', {class: 'point', cx: x(place, values.length), cy: y(value), r: 2.6})) : null,
        s('text', {class: 'row-name', x: width - 66, y: y(values[values.length - 1] === null ? 0 : values[values.length - 1]) + (index ? -4 : 8)}, names[key]))));
  });
  put(figure, host);
}
