/* Layer axes: ticks, the late phase and the tuned blocks, the same in every figure. */
const C = D.curves;
const L = C.n_layers || 1;

function layerTicks(width) {
  const steps = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 32];
  const step = steps.find(one => (L / one) * 26 <= width) || 50;
  const ticks = [];
  for (let layer = 0; layer <= L - step * 0.6; layer += step) ticks.push(layer);
  ticks.push(L);
  return ticks;
}

/* Shading from the start of the late phase on; above it the interval of that start as a small bar. */
function latePhase(x, top, bottom, labelled) {
  if (C.late_start === null) return null;
  const from = x(C.late_start);
  const group = s('g', {class: 'late'}, s('rect', {x: from, y: top, width: Math.max(0, x(L) - from), height: bottom - top}),
    s('line', {x1: from, x2: from, y1: top - 5, y2: bottom}));
  const start = C.late_interval ? x(C.late_interval[0]) : from;
  if (C.late_interval) group.append(s('line', {class: 'whisker', x1: start, x2: Math.max(x(C.late_interval[1]), start + 1), y1: top - 5, y2: top - 5}));
  if (labelled) group.append(s('text', {x: Math.min(start, from) - 5, y: top - 2, 'text-anchor': 'end'}, 'late phase'));
  return group;
}

function tunedMarks(x, y, step, labelled) {
  if (!C.tuned.length) return null;
  const width = Math.min(step * 0.8, 14);
  const group = s('g', {class: 'tuned'}, C.tuned.map(layer => s('rect', {x: x(layer) - width / 2, y, width, height: 4, rx: 1})));
  if (labelled) {
    group.append(s('text', {x: x(Math.min(...C.tuned)) - width / 2 - 4, y: y + 5.5, 'text-anchor': 'end'}, C.were_tuned ? 'tuned' : 'to tune'));
  }
  return group;
}

function layerAxis(x, y, width, name) {
  const axis = s('g', {class: 'axis'}, layerTicks(width).map(layer => s('text', {x: x(layer), y: y + 17, 'text-anchor': 'middle'}, layer)));
  if (name) axis.append(s('text', {class: 'name', x: x(0) - 4, y: y + 31}, name));
  return axis;
}

function layerLabel(layer) {
  const parts = [layer === 0 ? 'Embedding (layer 0)' : `After block ${layer}`];
  if (C.tuned.includes(layer)) parts.push(C.were_tuned ? 'tuned' : 'to be tuned');
  return parts.join(', ');
}

/* Arrow keys move the layer in a focused drawing. */
function layerKeys(element, show) {
  element.addEventListener('keydown', event => {
    const step = {ArrowRight: 1, ArrowLeft: -1, PageUp: 5, PageDown: -5}[event.key];
    if (step === undefined && event.key !== 'Home' && event.key !== 'End') return;
    event.preventDefault();
    const from = cursor.layer === null ? (step > 0 ? -1 : L + 1) : cursor.layer;
    const layer = event.key === 'Home' ? 0 : event.key === 'End' ? L : Math.min(L, Math.max(0, from + step));
    setLayer(layer);
    show(layer);
  });
  element.addEventListener('blur', () => { setLayer(null); hideTip(); });
}
