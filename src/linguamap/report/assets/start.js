/* Drawing everything once; one broken figure leaves the others whole. */
startTheme();
startContents();
for (const draw of [drawHero, drawOutcomes, drawExamples, drawChange, drawLens, drawLanguageMap, drawMoved, drawMass, drawGrid, drawSimilarity, drawHandover, drawLoss, drawAnswers]) {
  try { draw(); } catch (error) { console.error(draw.name, error); }
}
document.documentElement.dataset.ready = 'true';
