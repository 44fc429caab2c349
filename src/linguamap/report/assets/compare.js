/* All is drawn already; the script only switches the theme and marks the section in view. */
startTheme();
startContents();
document.documentElement.dataset.ready = 'true';
