/* Before and after for each language under each scenario, with intervals. */
const CHANGE_PANELS = [[0, 'In the language asked for'], [1, 'Right task']];

function changePanel(measure, title) {
  const host = h('div', {});
  responsive(host, width => {
    const names = width < 340 ? 64 : 76;
    const row = 17;
    const x = share => names + share * (width - names - 14);
    let y = 30;
    const svg = s('svg', {class: 'change', role: 'img', 'aria-label': `${title}: before and after by language and scenario; the table below holds the figures`});
    const grid = s('g', {class: 'axis'});
    svg.append(grid);
    D.scenarios.forEach(scenario => {
      const cases = D.cases.filter(one => one.scenario === scenario.id);
      if (!cases.length) return;
      svg.append(s('text', {class: 'group-name', x: 0, y: y + 4}, scenario.name));
      y += 17;
      cases.forEach(one => {
        svg.append(changeRow(one, measure, x, y, names));
        y += row;
      });
      y += 12;
    });
    [0, 0.25, 0.5, 0.75, 1].forEach(share => grid.append(s('line', {class: 'grid', x1: x(share), x2: x(share), y1: 15, y2: y - 8}),
      s('text', {x: x(share), y: 9, 'text-anchor': 'middle'}, percent(share))));
    svg.setAttribute('viewBox', `0 0 ${width} ${y}`);
    return svg;
  });
  return h('div', {class: 'panel'}, h('div', {class: 'panel-title'}, title), host);
}

function changeRow(one, measure, x, y, names) {
  const before = one.before[measure];
  const after = one.after && one.after[measure];
  const group = s('g', {class: 'change-row', 'data-code': one.language, style: {'--c': colour(one.language)}}, s('text', {class: 'row-name', x: names - 10, y: y + 4, 'text-anchor': 'end'}, languageName(one.language)),
    s('rect', {class: 'catch', x: 0, y: y - 8, width: x(1) + 14, height: 17}));
  [[before, 'before', -2.5], [after, 'after', 2.5]].forEach(([rate, when, shift]) => {
    if (rate && rate[1] !== null) group.append(s('line', {class: `whisker ${when}`, x1: x(rate[1]), x2: x(rate[2]), y1: y + (after ? shift : 0), y2: y + (after ? shift : 0)}));
  });
  if (before) group.append(s('circle', {class: 'before', cx: x(before[0]), cy: y - (after ? 2.5 : 0), r: 3.6}));
  if (after) group.append(s('circle', {class: 'after', cx: x(after[0]), cy: y + 2.5, r: 4}));
  group.addEventListener('pointermove', event => showTip(event.clientX, event.clientY, h('b', {}, `${languageName(one.language)}, ${scenarioName(one.scenario).toLowerCase()}`),
    h('table', {}, [['before', before], ['after', after]].filter(([, rate]) => rate).map(([when, rate]) => h('tr', {}, h('td', {}, when), h('td', {}, percent(rate[0])), h('td', {class: 'soft'}, `${range(rate[1], rate[2])}, n = ${rate[3]}`))))));
  group.addEventListener('pointerleave', hideTip);
  return group;
}

function drawChange() {
  const figure = figureOf('change');
  if (!figure || !D.cases.length) return;
  put(figure, languageKey(figure, [...new Set(D.cases.map(one => one.language))]), h('div', {class: 'pair'}, CHANGE_PANELS.map(([measure, title]) => changePanel(measure, title))));
}
