// Remembers the language that was chosen in the settings panel: the server sends it, the next page load reads it.
window.addEventListener("message", (event) => {
  if (event.source !== window || event.origin !== window.location.origin) return;
  const language = event.data && event.data.toolkitLanguage;
  if (language !== "zh" && language !== "en") return;
  document.cookie = `toolkit-language=${language}; path=/; max-age=31536000; samesite=lax`;
});
