/* Layers x languages: colour is the leading language, strength its share of words. */
function shareAt(target, code, layer) {
  const curve = target.curves[code];
  const place = curve ? valueAt(curve, layer) : null;
  return place === null ? null : curve.y[place];
}
function leader(target, layer) {
  let best = null;
  for (const code of Object.keys(target.curves)) {
    const share = code === '' ? null : shareAt(target, code, layer);
    if (share !== null && (best === null || share > best.share)) best = {code, share};
  }
  return best;
}
const MODES = [['leading', 'Leading language'], ['own', 'Language asked for'], ['pivot', 'English']];
function shown(target, code, layer, mode) {
  if (mode === 'leading') return leader(target, layer);
  const wanted = mode === 'own' ? code : C.pivot;
  const share = shareAt(target, wanted, layer);
  return share === null ? null : {code: wanted, share};
}

function mapDrawing(lens, options) {
  const targets = D.languages.map(one => one.code).filter(code => lens[code]);
  return width => {
    const names = options.compact ? 62 : 84;
    const row = options.compact ? Math.max(12, Math.min(options.alone ? 28 : 20, Math.floor((options.alone ? 240 : 160) / targets.length))) : targets.length > 12 ? 18 : 25;
    const top = options.compact ? 5 : 18;
    const step = (width - names - 4) / (L + 1);
    const x = layer => names + (layer + 0.5) * step;
    const base = top + targets.length * row;
    const height = base + (options.axis === false ? 6 : 40);
    const label = `Language map${options.when ? ', ' + options.when : ''}. ` + targets.map(code => {
      const runs = [];
      for (let layer = 0; layer <= L; layer += 1) {
        const best = leader(lens[code], layer);
        const name = best ? languageName(best.code) : 'nothing';
        if (!runs.length || runs[runs.length - 1][0] !== name) runs.push([name, layer]);
      }
      return `Asked for ${languageName(code)}: ` + runs.map(([name, layer]) => `${name} from layer ${layer}`).join(', ');
    }).join('. ');
    const svg = s('svg', {viewBox: `0 0 ${width} ${height}`, class: 'map', tabindex: 0, role: 'img', 'aria-label': label});
    const mode = options.mode();
    targets.forEach((code, index) => {
      const y = top + index * row;
      svg.append(s('text', {class: 'row-name', x: names - 8, y: y + row / 2 + 4, 'text-anchor': 'end'}, languageName(code)));
      for (let layer = 0; layer <= L; layer += 1) {
        const best = shown(lens[code], code, layer, mode);
        svg.append(s('rect', {class: 'cell', x: round(x(layer) - step / 2), y: y + 1, width: round(Math.max(1, step - (step > 5 ? 1 : 0))), height: row - (row > 14 ? 2 : 1), 'data-layer': layer, 'data-row': index,
          style: best ? {'fill': colour(best.code), 'fill-opacity': round(0.06 + 0.94 * best.share)} : {'fill': 'none'}}));
      }
    });
    if (C.late_start !== null) {
      const from = x(C.late_start) - step / 2;
      svg.append(s('g', {class: 'late open'}, s('line', {x1: from, x2: from, y1: top - 5, y2: base + 2}),
        C.late_interval && !options.compact ? s('line', {class: 'whisker', x1: x(C.late_interval[0]) - step / 2, x2: x(C.late_interval[1]) - step / 2, y1: top - 5, y2: top - 5}) : null,
        options.compact ? null : s('text', {x: Math.min(from, C.late_interval ? x(C.late_interval[0]) - step / 2 : from) - 5, y: top - 2, 'text-anchor': 'end'}, 'late phase')));
    }
    if (options.axis !== false) {
      svg.append(layerAxis(x, base + 4, width - names, 'Layer'));
      const marks = tunedMarks(x, base + 2, step, true);
      if (marks) svg.append(marks);
    }
    const line = s('rect', {class: 'cursor-box', y: top, height: base - top, width: step, visibility: 'hidden'});
    svg.append(line);
    options.marker.mark = layer => {
      line.setAttribute('visibility', layer === null ? 'hidden' : 'visible');
      if (layer !== null) line.setAttribute('x', x(layer) - step / 2);
    };
    const rowsAt = (index, layer) => Object.keys(lens[targets[index]].curves).map(code => [code, shareAt(lens[targets[index]], code, layer)])
      .filter(([, share]) => share !== null).sort((a, b) => b[1] - a[1]);
    svg.addEventListener('pointermove', event => {
      const cell = event.target.closest('.cell');
      if (!cell) { setLayer(null); hideTip(); return; }
      const layer = Number(cell.dataset.layer);
      const index = Number(cell.dataset.row);
      setLayer(layer);
      showTip(event.clientX, event.clientY, h('b', {}, `Asked for ${languageName(targets[index])}${options.when ? ', ' + options.when : ''}`), h('div', {class: 'soft'}, layerLabel(layer)),
        h('table', {}, rowsAt(index, layer).slice(0, 8).map(([code, share]) => h('tr', {}, h('td', {}, swatch(code), languageName(code)), h('td', {}, percent(share))))));
    });
    svg.addEventListener('pointerleave', () => { setLayer(null); hideTip(); });
    layerKeys(svg, layer => {
      const box = svg.getBoundingClientRect();
      const lines = targets.map((code, index) => [code, shown(lens[code], code, layer, mode), index]).filter(([, best]) => best);
      showTip(box.left + x(layer) * box.width / width, box.top + 60, h('b', {}, layerLabel(layer)), h('table', {}, lines.map(([code, best]) =>
        h('tr', {}, h('td', {}, `${languageName(code)}: `), h('td', {}, swatch(best.code), `${languageName(best.code)} ${percent(best.share)}`)))));
      announce(`${layerLabel(layer)}: ${lines.map(([code, best]) => `asked for ${languageName(code)}, ${languageName(best.code)} ${percent(best.share)}`).join('; ')}`);
    });
    return svg;
  };
}

function languageMap(lens, options) {
  const host = h('div', {class: 'map-drawing'});
  options.marker = {mark: () => {}};
  options.mode = options.mode || (() => 'leading');
  cursor.listeners.add(layer => options.marker.mark(layer));
  const redraw = responsive(host, mapDrawing(lens, options));
  return {host, redraw};
}

/* The languages that lead somewhere, by colour, and a ramp for the strength. */
function mapKey(lenses) {
  const seen = new Set();
  lenses.forEach(lens => Object.values(lens).forEach(target => {
    for (let layer = 0; layer <= L; layer += 1) { const best = leader(target, layer); if (best && best.share > 0.03) seen.add(best.code); }
  }));
  return h('div', {class: 'map-key'}, D.languages.filter(one => seen.has(one.code)).map(one => h('span', {}, swatch(one.code), one.name)),
    h('span', {class: 'ramp'}, '0%', h('i', {'aria-hidden': 'true'}), '100% of words'));
}

function drawHero() {
  const figure = figureOf('hero');
  const {before} = C.lens;
  const after = D.two_maps ? C.lens.after : null;
  if (!before) return;
  put(figure, after ? h('div', {class: 'small-head'}, 'Before tuning') : null, languageMap(before, {compact: true, alone: !after, axis: !after, when: after ? 'before tuning' : ''}).host,
    after ? [h('div', {class: 'small-head'}, 'After tuning'), languageMap(after, {compact: true, when: 'after tuning'}).host] : null, mapKey([before, after].filter(Boolean)));
}

function drawLanguageMap() {
  const figure = figureOf('language-map');
  if (!figure || !C.lens.before) return;
  let mode = 'leading';
  const lenses = [['before tuning', C.lens.before], ['after tuning', C.lens.after]].filter(([, lens]) => lens);
  const maps = lenses.map(([when, lens]) => ({when, ...languageMap(lens, {when: lenses.length > 1 ? when : '', mode: () => mode})}));
  const pair = h('div', {class: lenses.length > 1 ? 'pair' : ''}, maps.map(one => h('div', {}, lenses.length > 1 ? h('div', {class: 'small-head'}, one.when.replace(/^./, first => first.toUpperCase())) : null, one.host)));
  put(figure, h('div', {class: 'tools'}, choice('What the map shows', MODES, mode, value => { mode = value; maps.forEach(one => one.redraw()); })), pair, mapKey(lenses.map(([, lens]) => lens)),
    numbers(() => ({head: ['Asked for', 'Words in', ...(lenses.length > 1 ? ['When'] : []), ...Array.from({length: L + 1}, (_, layer) => layer)],
      rows: lenses.flatMap(([when, lens]) => D.languages.filter(one => lens[one.code]).flatMap(one => Object.keys(lens[one.code].curves).map(code =>
        [one.name, languageName(code), ...(lenses.length > 1 ? [when] : []), ...Array.from({length: L + 1}, (_, layer) => bare(shareAt(lens[one.code], code, layer)))])))})));
  maps.forEach(one => one.redraw());
}
