// The player and what has times stay together: a time seeks, the line that is spoken is marked. Without this script the
// times are links that open the page at that time.
(function () {
  "use strict";
  const media = document.getElementById("media");
  if (!media) return;
  const transcript = document.getElementById("transcript");
  const lines = transcript ? Array.from(transcript.children) : [];
  const starts = lines.map(function (line) { return Number(line.dataset.from); });
  let current = lines.findIndex(function (line) { return line.classList.contains("now"); });

  // The last line that began by then and goes on, or -1.
  function spokenAt(time) {
    let low = 0, high = starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= time) low = middle + 1; else high = middle;
    }
    return low > 0 && time < Number(lines[low - 1].dataset.to) ? low - 1 : -1;
  }

  // Only the list moves, never the page; and not while a person is reading in it.
  function bringIntoView(line) {
    if (transcript.matches(":hover, :focus-within")) return;
    transcript.scrollTop += line.getBoundingClientRect().top - transcript.getBoundingClientRect().top
      - transcript.clientHeight / 3;
  }

  function mark() {
    const spoken = spokenAt(media.currentTime);
    if (spoken === current) return;
    if (current >= 0) {
      lines[current].classList.remove("now");
      lines[current].removeAttribute("aria-current");
    }
    current = spoken;
    if (spoken < 0) return;
    lines[spoken].classList.add("now");
    lines[spoken].setAttribute("aria-current", "true");
    bringIntoView(lines[spoken]);
  }

  media.addEventListener("timeupdate", mark);
  media.addEventListener("seeked", mark);
  if (current >= 0) bringIntoView(lines[current]);

  document.addEventListener("click", function (event) {
    const link = event.target.closest("a[data-start]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    media.currentTime = Number(link.dataset.start);
    history.replaceState(null, "", link.href);
    const playing = media.play();
    if (playing) playing.catch(function () { /* the browser wants a click on the player first: it stands at the time */ });
  });
})();
