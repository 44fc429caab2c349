/* Theme and table of contents, for every page. */
const THEMES = [['auto', 'Auto', 'as the system'], ['light', 'Light', 'light'], ['dark', 'Dark', 'dark']];
function setTheme(name) {
  const [id, word, spoken] = THEMES.find(one => one[0] === name) || THEMES[0];
  document.documentElement.dataset.theme = id;
  const button = document.getElementById('theme');
  button.querySelector('.word').textContent = word;
  button.setAttribute('aria-label', `Colour theme: ${spoken}. Press to change.`);
  try { localStorage.setItem('linguamap-theme', id); } catch { /* a page opened from disk may not keep anything */ }
}
function startTheme() {
  let kept = null;
  try { kept = localStorage.getItem('linguamap-theme'); } catch { kept = null; }
  setTheme(kept || 'auto');
  document.getElementById('theme').addEventListener('click', () => {
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    const order = dark ? ['auto', 'light', 'dark'] : ['auto', 'dark', 'light'];
    setTheme(order[(order.indexOf(document.documentElement.dataset.theme) + 1) % 3]);
  });
}
function linkTo(section) {
  const link = document.createElement('a');
  link.href = `#${section.id}`;
  link.textContent = section.dataset.short;
  return link;
}
function inItem(link) {
  const item = document.createElement('li');
  item.append(link);
  return item;
}
function startContents() {
  const sections = [...document.querySelectorAll('section[data-short]')];
  const links = new Map(sections.map(section => [section, linkTo(section)]));
  document.getElementById('toc').append(...[...links.values()].map(link => inItem(link)));
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach(link => link.removeAttribute('aria-current'));
      links.get(entry.target).setAttribute('aria-current', 'true');
    }
  }, {rootMargin: '-20% 0px -75% 0px'});
  sections.forEach(section => seen.observe(section));
}
