/* Answers and examples are put in once; one broken part leaves the others whole. */
startTheme();
startContents();
for (const draw of [drawExamples, drawAnswers]) {
  try { draw(); } catch (error) { console.error(draw.name, error); }
}
document.documentElement.dataset.ready = 'true';
