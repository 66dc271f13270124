// Frames that play and step: decoding (one picture, row by row) and layered reach (one a layer).
(() => {
  "use strict";
  const PACE = 900; // milliseconds for each frame

  function start(root) {
    root.dataset.ready = "yes";
    const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    const find = (name) => root.querySelector("." + name);
    const pictures = [...root.querySelectorAll(".pictures > figure")];
    const slider = find("slider"), play = find("go-play"), last = data.captions.length - 1;
    let at = 0, timer = 0;

    function show(frame) {
      at = Math.max(0, Math.min(last, frame));
      slider.value = at;
      slider.setAttribute("aria-valuetext", data.captions[at]);
      find("number").textContent = `${at + 1} of ${last + 1}`;
      find("caption").textContent = data.captions[at];
      for (const [name, off] of [["first", at === 0], ["back", at === 0], ["next", at === last], ["last", at === last]]) {
        find("go-" + name).disabled = off;
      }
      root.dataset.frame = at;
      if (data.kind === "decoding") showStep(); else pictures.forEach((p, n) => { p.hidden = n !== at; });
      find("read").textContent = "";
    }
    function showStep() {
      const panel = data.panels[0], { top, side } = panel, rows = panel.cells.length;
      const cover = find("cover"), now = find("now");
      cover.setAttribute("y", top + (at + 1) * side);
      cover.setAttribute("height", Math.max(0, (rows - at - 1) * side));
      now.setAttribute("y", top + at * side);
      now.setAttribute("visibility", "visible");
      const there = [...panel.cells[at]].map((state, key) => [+state, key]).filter((pair) => pair[0]);
      find("cache").replaceChildren(...there.map(([state, key]) => {
        const item = document.createElement("li"), mark = document.createElement("i");
        const name = document.createElement("span");
        mark.innerHTML = data.swatches[state]; // drawn by us, no reader's text in it
        name.textContent = panel.columns[key];
        item.dataset.state = state;
        item.title = `key ${named(panel.columns[key], key)}: ${data.words[state]}`;
        item.append(mark, name);
        return item;
      }));
    }
    const named = (label, position) =>
      label === String(position) ? label : `${position} \u201c${label}\u201d`;

    // -- playing ---------------------------------------------------------------------------
    function stop() {
      clearInterval(timer);
      timer = 0;
      play.textContent = "\u25b6 Play";
      play.setAttribute("aria-label", "play");
    }
    function toggle() {
      if (timer) { stop(); return; }
      if (at === last) show(0);
      play.textContent = "\u23f8 Pause";
      play.setAttribute("aria-label", "pause");
      timer = setInterval(() => {
        if (!root.isConnected) { stop(); return; }
        show(at + 1);
        if (at === last) stop();
      }, PACE);
    }
    function go(frame) {
      stop();
      show(frame);
    }
    find("go-first").addEventListener("click", () => go(0));
    find("go-back").addEventListener("click", () => go(at - 1));
    find("go-next").addEventListener("click", () => go(at + 1));
    find("go-last").addEventListener("click", () => go(last));
    play.addEventListener("click", toggle);
    slider.addEventListener("input", () => go(+slider.value));
    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const frames = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
      if (event.key in frames) go(frames[event.key]);
      // A button in focus is pressed by space itself.
      else if (event.key === " " && event.target.tagName !== "BUTTON") toggle();
      else return;
      event.preventDefault();
      event.stopPropagation(); // a notebook has uses of its own for these keys
    });

    // -- pointing --------------------------------------------------------------------------
    function cellAt(event, picture, panel) {
      const svg = picture.querySelector("svg"), box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const column = Math.floor(((event.clientX - box.left) * scale - panel.left) / panel.side);
      const row = Math.floor(((event.clientY - box.top) * scale - panel.top) / panel.side);
      const inside = row >= 0 && row < panel.cells.length && column >= 0 && column < panel.columns.length;
      return inside ? [row, column] : null;
    }
    function range(cell) {
      const first = cell * data.cell, end = Math.min(first + data.cell, data.length) - 1;
      return first === end ? String(first) : `${first}-${end}`;
    }
    function words(panel, row, column) {
      const meaning = data.words[+panel.cells[row][column]];
      if (data.kind === "decoding") {
        return `step ${row + 1} (${panel.rows[row]}), key ${named(panel.columns[column], column)}: ${meaning}`;
      }
      if (data.cell > 1) return `keys ${range(column)} \u2192 queries ${range(row)}: ${meaning}`;
      return `key ${named(panel.columns[column], column)} \u2192 query ${named(panel.rows[row], row)}: ${meaning}`;
    }
    pictures.forEach((picture, number) => {
      const panel = data.panels[number];
      const say = (event) => {
        const cell = cellAt(event, picture, panel);
        if (cell) find("read").textContent = words(panel, ...cell);
      };
      picture.addEventListener("pointermove", say);
      picture.addEventListener("pointerdown", (event) => {
        const cell = cellAt(event, picture, panel);
        if (cell && data.kind === "decoding") go(cell[0]);
        say(event);
      });
    });

    slider.max = last;
    root.tabIndex = 0;
    find("player").hidden = find("keys").hidden = false;
    root.classList.add("started");
    show(data.kind === "decoding" ? 0 : Math.min(1, last));
  }

  for (const root of document.querySelectorAll(".slv-frames:not([data-ready])")) start(root);
})();
