/* Probability mass on tokens of one language only: the lens without an identifier. */
function drawMass() {
  const figure = figureOf('mass');
  const {before, after} = C.mass;
  if (!figure || !before) return;
  const targets = D.languages.map(one => one.code).filter(code => before[code]);
  const series = code => [[before, ''], [after, 'after']].flatMap(([mass, when]) => {
    const target = mass && mass[code];
    if (!target) return [];
    return [...new Set([C.pivot, code])].filter(one => target.curves[one]).map(one => {
      const name = languageName(one) + (when ? ', after' : after ? ', before' : '');
      return {code: one, name, long: `${languageName(code)} asked, ${name}`, curve: target.curves[one], band: !when, style: when};
    });
  });
  const all = targets.flatMap(series);
  const highest = Math.max(...all.flatMap(one => [...one.curve.y, ...one.curve.hi].filter(value => value !== null)), 0.01);
  const top = [0.02, 0.05, 0.1, 0.2, 0.5, 1].find(one => one >= highest) || 1;
  const panels = targets.map((code, place) => {
    const own = series(code);
    const ends = own.filter(one => !one.style).map(one => `${one.name} ends at ${percent(one.curve.y[one.curve.y.length - 1])}`);
    return linePanel({title: languageName(code), code, note: [before[code].n_items ? plural(before[code].n_items, 'item') : '', before[code].coverage === null ? '' : `its tokens make up ${percent(before[code].coverage)} of its text`].filter(Boolean).join('; ') || null, series: own, first: place === 0,
      domain: [0, top], ticks: [0, top / 2, top], label: `Asked for ${languageName(code)}, probability mass by layer: ${ends.join(', ')}. Arrow keys read the layers.`});
  });
  put(figure, after ? strokes('before', 'after') : null, h('div', {class: 'multiples'}, panels), numbers(() => curveTable(all, percent)));
}
