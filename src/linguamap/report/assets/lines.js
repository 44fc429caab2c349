/* A small panel of curves over layers with bands, a shared cursor and readable values. */
function pathOf(curve, x, y, key = 'y') {
  let path = '';
  let pen = 'M';
  curve.x.forEach((layer, place) => {
    const value = curve[key][place];
    if (value === null) { pen = 'M'; return; }
    path += `${pen}${round(x(layer))} ${round(y(value))}`;
    pen = 'L';
  });
  return path;
}
function bandOf(curve, x, y) {
  const places = curve.x.map((_, place) => place).filter(place => curve.lo[place] !== null && curve.hi[place] !== null);
  if (places.length < 2) return '';
  const upper = places.map(place => `${round(x(curve.x[place]))} ${round(y(curve.hi[place]))}`);
  const lower = places.reverse().map(place => `${round(x(curve.x[place]))} ${round(y(curve.lo[place]))}`);
  return `M${upper.join('L')}L${lower.join('L')}Z`;
}
const valueAt = (curve, layer) => { const place = curve.x.indexOf(layer); return place < 0 ? null : place; };

/* spec: {title, code, label, series: [{code, name, curve, style, band}], ceilings: [[code, value]],
   domain, ticks, format, first, dots: [[layer, value, code]], levels: [[value, text]]} */
function linePanel(spec) {
  const host = h('div', {class: 'panel-drawing'});
  const title = h('div', {class: 'panel-title'}, spec.code !== undefined ? swatch(spec.code) : null, spec.title, spec.note ? h('small', {class: spec.note.length > 12 ? 'below' : null}, spec.note) : null);
  let mark = () => {};
  cursor.listeners.add(layer => mark(layer));
  responsive(host, width => {
    const drawn = drawPanel(spec, width);
    mark = drawn.mark;
    return drawn.svg;
  });
  return h('div', {class: 'panel'}, title, host);
}

function drawPanel(spec, width) {
  const height = spec.height || Math.round(Math.min(200, Math.max(145, width * 0.54)));
  const margin = {left: 30, right: spec.ceilings && spec.ceilings.length ? 14 : 8, top: 16, bottom: 26};
  const [low, high] = spec.domain || [0, 1];
  const x = layer => margin.left + (layer / L) * (width - margin.left - margin.right);
  const y = value => margin.top + (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low)) * (height - margin.top - margin.bottom);
  const base = height - margin.bottom;
  const format = spec.format || percent;
  const svg = s('svg', {viewBox: `0 0 ${width} ${height}`, class: 'lines', tabindex: 0, role: 'img', 'aria-label': spec.label});
  svg.append(...[latePhase(x, margin.top, base, spec.first)].filter(Boolean));
  svg.append(s('g', {class: 'axis'}, (spec.ticks || [0, 0.5, 1]).map(value => [
    s('line', {class: 'grid', x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value)}),
    s('text', {x: margin.left - 5, y: y(value) + 3.5, 'text-anchor': 'end'}, format(value))])), layerAxis(x, base, width));
  const marks = tunedMarks(x, base + 2, x(1) - x(0), false);
  if (marks) svg.append(marks);
  (spec.levels || []).forEach(([value, text]) => svg.append(s('line', {class: 'level', x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value)}),
    s('text', {class: 'level-name', x: margin.left + 3, y: y(value) - 3}, text)));
  const crowded = spec.series.filter(one => one.band).length > 2;
  spec.series.forEach(one => { if (one.band) svg.append(s('path', {class: crowded ? 'band faint' : 'band', d: bandOf(one.curve, x, y), 'data-code': one.code, style: {'--c': one.colour || colour(one.code)}})); });
  spec.series.forEach(one => svg.append(s('path', {class: `line ${one.style || ''}`, d: pathOf(one.curve, x, y), 'data-code': one.code, style: {'--c': one.colour || colour(one.code)}})));
  (spec.ceilings || []).forEach(([code, value]) => svg.append(s('line', {class: 'ceiling', x1: width - margin.right - 4, x2: width - 1, y1: y(value), y2: y(value), 'data-code': code, style: {'--c': colour(code)}})));
  (spec.starts || []).forEach(([code, value]) => svg.append(s('line', {class: 'ceiling', x1: margin.left - 5, x2: margin.left + 1, y1: y(value), y2: y(value), 'data-code': code, style: {'--c': colour(code)}})));
  (spec.dots || []).forEach(([layer, value, code, text]) => svg.append(s('circle', {class: 'crossing', cx: x(layer), cy: y(value), r: 3.5, style: {'--c': colour(code)}}),
    s('text', {class: 'crossing-name', x: x(layer) + 7, y: y(value) + 9}, text)));
  const line = s('line', {class: 'cursor', y1: margin.top, y2: base, visibility: 'hidden'});
  svg.append(line);
  const mark = layer => {
    line.setAttribute('visibility', layer === null ? 'hidden' : 'visible');
    if (layer !== null) { line.setAttribute('x1', x(layer)); line.setAttribute('x2', x(layer)); }
  };
  const show = (layer, left, top) => {
    const rows = spec.series.map(one => [one, valueAt(one.curve, layer)]).filter(([one, place]) => place !== null && one.curve.y[place] !== null);
    rows.sort((a, b) => b[0].curve.y[b[1]] - a[0].curve.y[a[1]]);
    const box = svg.getBoundingClientRect();
    showTip(left === undefined ? box.left + x(layer) * box.width / width : left, top === undefined ? box.top + 40 : top,
      h('b', {}, layerLabel(layer)), h('table', {}, rows.slice(0, 12).map(([one, place]) => h('tr', {},
        h('td', {}, swatch(one.code), one.name), h('td', {}, format(one.curve.y[place])),
        h('td', {class: 'soft'}, one.curve.lo[place] === null ? '' : spec.format ? `${format(one.curve.lo[place])} to ${format(one.curve.hi[place])}` : range(one.curve.lo[place], one.curve.hi[place]))))));
    announce(`${layerLabel(layer)}: ${rows.map(([one, place]) => `${one.name} ${format(one.curve.y[place])}`).join(', ')}`);
  };
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) * width / box.width;
    const layer = Math.min(L, Math.max(0, Math.round((at - margin.left) / (width - margin.left - margin.right) * L)));
    setLayer(layer);
    show(layer, event.clientX, event.clientY);
  });
  svg.addEventListener('pointerleave', () => { setLayer(null); hideTip(); });
  layerKeys(svg, layer => show(layer));
  return {svg, mark};
}

/* Rows of layers, a column for each curve: the numbers behind line figures. */
function curveTable(series, format) {
  const layers = [...new Set(series.flatMap(one => one.curve.x))].sort((a, b) => a - b);
  return {head: ['Layer', ...series.map(one => one.long || one.name)], rows: layers.map(layer => [layer, ...series.map(one => {
    const place = valueAt(one.curve, layer);
    if (place === null || one.curve.y[place] === null) return '–';
    const band = one.curve.lo[place] === null ? '' : ` (${format(one.curve.lo[place])} to ${format(one.curve.hi[place])})`;
    return format(one.curve.y[place]) + band;
  })])};
}
