// Attention weights over a mask: pickers, a map that answers to pointer and keys, small maps.
(() => {
  "use strict";
  const BROKEN = 65535, LEFT_MOST = 110, RIGHT = 16, MOST = 640, BARS = 6;

  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  function start(root) {
    root.dataset.ready = "yes";
    const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    const [L, B, H, Q, K] = data.shape;
    const codes = bytes(data.codes), bits = bytes(data.mask);
    const find = (name) => root.querySelector("." + name);
    const base = find("base"), over = find("over"), read = find("read"), box = find("map");
    const at = { layer: 0, batch: 0, head: 0, query: -1, key: -1 };
    let place = null; // where the cells stand
    // Of numbers some may be left out, so that they need not lean.
    const numbered = data.keys.every((label) => /^\d+$/.test(label));

    const map = (l, b, h) => (l * B + b) * H + h;
    const here = () => map(at.layer, at.batch, at.head);
    function weight(m, q, k) {
      const i = 2 * ((m * Q + q) * K + k), code = codes[i] + 256 * codes[i + 1];
      return code === BROKEN ? NaN : (code - data.zero) * data.step;
    }
    function allowed(m, q, k) {
      const l = Math.floor(m / (B * H)), b = Math.floor(m / H) % B, h = m % H;
      const [ML, MB, MH] = data.mask_shape;
      const owner = ((ML > 1 ? l : 0) * MB + (MB > 1 ? b : 0)) * MH + (MH > 1 ? h : 0);
      const bit = (owner * Q + q) * K + k;
      return (bits[bit >> 3] >> (7 - (bit & 7))) & 1;
    }
    function heaviest(m) {
      let most = 0;
      for (let q = 0; q < Q; q++) for (let k = 0; k < K; k++) {
        const w = weight(m, q, k);
        if (w > most) most = w;
      }
      return most;
    }
    const emptyRow = (m, q) => {
      for (let k = 0; k < K; k++) if (allowed(m, q, k)) return false;
      return true;
    };
    const digits = Math.max(0, Math.min(12, Math.ceil(-Math.log10(data.step))));
    function shown(w) {
      if (Number.isNaN(w)) return "not a number";
      if (w !== 0 && Math.abs(w) <= data.step) {
        return (w > 0 ? "above 0, at most " : "below 0, at least ") + w.toFixed(digits);
      }
      return w.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
    }

    // -- colors, from the style sheet, so that dark pages are dark --------------------------
    let color = {};
    function readColors() {
      const style = getComputedStyle(root);
      for (const name of ["paper", "ink", "soft", "in", "bad", "out", "hatch", "line"]) {
        color[name] = style.getPropertyValue("--" + name).trim();
      }
      const rgb = (hex) => {
        const long = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, "$&$&") : hex;
        return [1, 3, 5].map((i) => parseInt(long.slice(i, i + 2), 16));
      };
      for (const name of ["paper", "ink", "in", "bad", "out"]) color["_" + name] = rgb(color[name]);
    }
    function mixed(name, part) {
      return color["_" + name].map((c, i) => Math.round(c * part + color._paper[i] * (1 - part)));
    }
    function cellColor(m, q, k, most) {
      const w = weight(m, q, k);
      if (Number.isNaN(w)) return color._ink;
      const part = most ? Math.min(1, Math.abs(w) / most) : 0;
      if (!allowed(m, q, k)) return w === 0 ? null : mixed("bad", 0.55 + 0.45 * part);
      return mixed("in", w === 0 ? 0 : 0.1 + 0.9 * part);
    }

    // -- the large map ---------------------------------------------------------------------
    function layout() {
      const pen = base.getContext("2d");
      pen.font = "12px system-ui,sans-serif";
      const widest = (labels) => Math.max(...labels.map((t) => pen.measureText(t).width));
      const left = Math.min(LEFT_MOST, widest(data.queries)) + 8;
      const room = box.clientWidth - left - RIGHT;
      const side = Math.max(3, Math.min(30, Math.floor(room / K), Math.floor(MOST / Q)));
      const wide = widest(data.keys), slanted = wide > side - 2 && !numbered;
      const top = slanted ? Math.min(LEFT_MOST, wide) * 0.87 + 12 : 20;
      // Slanted labels lean over the right edge.
      const right = Math.max(RIGHT, slanted && side >= 9 ? Math.min(LEFT_MOST, wide) * 0.5 : 0);
      return { left, top, side, slanted, width: left + K * side + right, height: top + Q * side + 2 };
    }
    function sized(canvas) {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(place.width * ratio);
      canvas.height = Math.round(place.height * ratio);
      canvas.style.width = place.width + "px";
      canvas.style.height = place.height + "px";
      const pen = canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      return pen;
    }
    function hatched(pen) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 6;
      const own = tile.getContext("2d");
      own.fillStyle = color.out;
      own.fillRect(0, 0, 6, 6);
      own.strokeStyle = color.hatch;
      own.lineWidth = 1.2;
      own.beginPath();
      for (const x of [-6, 0, 6]) { own.moveTo(x - 1, 7); own.lineTo(x + 7, -1); }
      own.stroke();
      return pen.createPattern(tile, "repeat");
    }
    function draw() {
      place = layout();
      base.dataset.cells = `${place.left} ${place.top} ${place.side}`;
      const { left, top, side } = place, m = here(), most = heaviest(m), pen = sized(base);
      const gap = side >= 7 ? 1 : 0;
      pen.fillStyle = hatched(pen);
      pen.fillRect(left, top, K * side, Q * side);
      for (let q = 0; q < Q; q++) for (let k = 0; k < K; k++) {
        const rgb = cellColor(m, q, k, most);
        if (!rgb) continue;
        const x = left + k * side, y = top + q * side;
        pen.fillStyle = `rgb(${rgb})`;
        pen.fillRect(x, y, side - gap, side - gap);
        if (!allowed(m, q, k) && side >= 6) sign(pen, x, y, side - gap, weight(m, q, k));
      }
      pen.strokeStyle = color.line;
      pen.strokeRect(left - 0.5, top - 0.5, K * side + 1, Q * side + 1);
      for (let q = 0; q < Q; q++) margins(pen, m, q);
      labels(pen);
      base.setAttribute("aria-label", data.aria + ", " + names() + ". Arrow keys move from pair to pair.");
      overlay();
    }
    // Weight where none may be is crossed, what is not a number has a question mark.
    function sign(pen, x, y, size, w) {
      pen.strokeStyle = pen.fillStyle = color.paper;
      if (Number.isNaN(w)) {
        pen.font = `bold ${Math.max(7, size - 4)}px system-ui,sans-serif`;
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText("?", x + size / 2, y + size / 2 + 0.5);
        return;
      }
      const pad = size * 0.28;
      pen.lineWidth = Math.max(1, size / 10);
      pen.beginPath();
      pen.moveTo(x + pad, y + pad);
      pen.lineTo(x + size - pad, y + size - pad);
      pen.moveTo(x + size - pad, y + pad);
      pen.lineTo(x + pad, y + size - pad);
      pen.stroke();
    }
    function margins(pen, m, q) {
      const { left, top, side } = place, y = top + q * side;
      if (emptyRow(m, q)) {
        pen.strokeStyle = color.bad;
        pen.lineWidth = 1.5;
        pen.strokeRect(left, y + 0.5, K * side, side - 1);
        pen.lineWidth = 1;
      }
      if (data.sums[m * Q + q] !== undefined) {
        pen.fillStyle = color.bad;
        pen.font = `bold ${Math.min(12, Math.max(6, side))}px system-ui,sans-serif`;
        pen.textAlign = "left";
        pen.textBaseline = "middle";
        pen.fillText("\u03a3", left + K * side + 3, y + side / 2);
      }
    }
    function clipped(pen, label) {
      if (pen.measureText(label).width <= LEFT_MOST) return label;
      let cut = [...label];
      while (cut.length && pen.measureText(cut.join("") + "\u2026").width > LEFT_MOST) cut.pop();
      return cut.join("") + "\u2026";
    }
    function labels(pen) {
      const { left, top, side, slanted } = place;
      const font = Math.max(8, Math.min(12, side * 0.8));
      const every = Math.max(1, Math.ceil((font + 1) / side));
      pen.fillStyle = color.ink;
      pen.font = `${font}px system-ui,sans-serif`;
      pen.textBaseline = "middle";
      pen.textAlign = "right";
      for (let q = 0; q < Q; q += every) {
        pen.fillText(clipped(pen, data.queries[q]), left - 5, top + (q + 0.5) * side);
      }
      const longest = numbered ? pen.measureText(data.keys[K - 1]).width + 6 : font + 1;
      const step = [1, 2, 4, 5, 8, 10, 16, 20, 32, 64].find((n) => n * side >= longest) || K;
      for (let k = 0; k < K; k += step) {
        pen.save();
        pen.translate(left + (k + 0.5) * side, top - 5);
        if (slanted) pen.rotate(-Math.PI / 3);
        pen.textAlign = slanted ? "left" : "center";
        pen.textBaseline = slanted ? "middle" : "alphabetic";
        pen.fillText(clipped(pen, data.keys[k]), 0, 0);
        pen.restore();
      }
    }

    // -- the pair that is looked at --------------------------------------------------------
    const names = () => data.names.map((one, axis) => {
      const chosen = [at.layer, at.batch, at.head][axis];
      return one ? `${one} ${data.numbers[axis][chosen]}` : "";
    }).filter(Boolean).join(", ");
    function overlay() {
      const pen = sized(over);
      if (at.query < 0) return;
      const { left, top, side } = place, x = left + at.key * side, y = top + at.query * side;
      pen.fillStyle = color.ink;
      pen.globalAlpha = 0.1;
      pen.fillRect(left, y, K * side, side);
      pen.fillRect(x, top, side, Q * side);
      pen.globalAlpha = 1;
      pen.strokeStyle = color.paper;
      pen.lineWidth = 4;
      pen.strokeRect(x, y, side, side);
      pen.strokeStyle = color.ink;
      pen.lineWidth = 2;
      pen.strokeRect(x, y, side, side);
    }
    function named(label, position) {
      return label === String(position) ? label : `${position} \u201c${label}\u201d`;
    }
    function look(query, key) {
      at.query = Math.max(0, Math.min(Q - 1, query));
      at.key = Math.max(0, Math.min(K - 1, key));
      overlay();
      say();
    }
    function say() {
      if (at.query < 0) return;
      const m = here(), q = at.query, k = at.key, w = weight(m, q, k), ok = allowed(m, q, k);
      const pair = `query ${named(data.queries[q], q + data.q_offset)} \u2192 ` +
        `key ${named(data.keys[k], k)}`;
      const verdict = ok ? "allowed" : w === 0 ? "may not attend, not in play"
        : "may not attend, and yet it carries weight";
      const sum = data.sums[m * Q + q];
      read.textContent = `${pair}: weight ${shown(w)}; ${verdict}` +
        (emptyRow(m, q) ? ". This query may see nothing" : "") +
        (sum === undefined ? "" : `. This row adds up to ${sum}, not to 1`) + ".";
      read.classList.toggle("warn", !ok && w !== 0);
      Object.assign(read.dataset, { query: q, key: k, weight: w, allowed: ok ? "yes" : "no" });
      bars(m, q);
    }
    function bars(m, q) {
      const list = find("bars");
      const order = Array.from({ length: K }, (_, k) => [k, weight(m, q, k)])
        .filter((pair) => pair[1] > 0).sort((a, b) => b[1] - a[1]).slice(0, BARS);
      list.replaceChildren(...order.map(([k, w]) => {
        const line = document.createElement("li"), leak = !allowed(m, q, k);
        line.className = leak ? "leak" : "";
        const name = data.keys[k] === String(k) ? data.keys[k] : `${k} ${data.keys[k]}`;
        const value = shown(w) + (leak ? " !" : "");
        for (const [kind, words] of [["name", name], ["bar", ""], ["value", value]]) {
          const part = document.createElement("span");
          part.className = kind;
          part.textContent = words;
          line.append(part);
        }
        line.children[1].style.width = `${(100 * w) / order[0][1]}%`;
        return line;
      }));
      find("bars-title").hidden = !order.length;
    }

    // -- which map -------------------------------------------------------------------------
    function facts() {
      const m = here(), said = [], most = heaviest(m);
      const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
      const { leaks, broken, uneven, negative } = data.faults;
      if (leaks[m]) said.push(count(leaks[m], "forbidden pair carries", "forbidden pairs carry") + " weight");
      if (broken[m]) said.push(count(broken[m], "weight is", "weights are") + " not a number");
      if (negative[m]) said.push(count(negative[m], "weight is", "weights are") + " below 0");
      if (uneven[m]) said.push(count(uneven[m], "row does", "rows do") + " not add up to 1");
      const line = find("facts");
      line.textContent = said.length ? said.join("; ") + "." : "In this map nothing is wrong.";
      line.classList.toggle("warn", said.length > 0);
      find("heaviest").textContent = `weight 0 to ${shown(most)}`;
      root.dataset.map = m;
    }
    function choose(changes) {
      Object.assign(at, changes);
      for (const axis of ["layer", "batch", "head"]) {
        const picker = find("pick-" + axis);
        if (picker) picker.value = at[axis];
      }
      for (const each of root.querySelectorAll(".thumbs button")) {
        const mine = +each.dataset.layer === at.layer && +each.dataset.head === at.head;
        each.setAttribute("aria-pressed", mine);
      }
      facts();
      draw();
      say();
    }
    function thumbnail(button) {
      const m = map(+button.dataset.layer, at.batch, +button.dataset.head);
      const canvas = button.querySelector("canvas"), most = heaviest(m);
      canvas.width = K;
      canvas.height = Q;
      const pen = canvas.getContext("2d"), image = pen.createImageData(K, Q);
      for (let i = 0; i < Q * K; i++) {
        const rgb = cellColor(m, Math.floor(i / K), i % K, most) || color._out;
        image.data.set([...rgb, 255], 4 * i);
      }
      pen.putImageData(image, 0, 0);
      const wrong = data.faults.leaks[m] + data.faults.broken[m];
      button.querySelector(".mark").hidden = !wrong;
      const words = wrong ? `, ${wrong} wrong ${wrong === 1 ? "weight" : "weights"}` : "";
      button.setAttribute("aria-label", button.title + words);
    }
    function redrawAll() {
      readColors();
      draw();
      for (const each of root.querySelectorAll(".thumbs button")) thumbnail(each);
    }

    // -- what the reader does --------------------------------------------------------------
    function pointed(event) {
      const frame = base.getBoundingClientRect();
      const k = Math.floor((event.clientX - frame.left - place.left) / place.side);
      const q = Math.floor((event.clientY - frame.top - place.top) / place.side);
      if (k >= 0 && k < K && q >= 0 && q < Q) look(q, k);
    }
    base.addEventListener("pointermove", pointed);
    base.addEventListener("pointerdown", pointed);
    base.addEventListener("focus", () => { if (at.query < 0) look(0, 0); });
    base.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const move = moves[event.key];
      if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation(); // a notebook has uses of its own for these keys
      look(at.query + move[0], at.key + move[1]);
    });
    for (const axis of ["layer", "batch", "head"]) {
      const picker = find("pick-" + axis);
      if (picker) picker.addEventListener("change", () => {
        choose({ [axis]: +picker.value });
        if (axis === "batch") redrawAll();
      });
    }
    for (const each of root.querySelectorAll(".thumbs button")) {
      each.addEventListener("click", () => choose({ layer: +each.dataset.layer, head: +each.dataset.head }));
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
    let width = 0;
    new ResizeObserver(() => {
      if (box.clientWidth !== width) { width = box.clientWidth; if (width) draw(); }
    }).observe(box);
    readColors();
    choose({});
    redrawAll();
  }

  for (const root of document.querySelectorAll(".slv-weights:not([data-ready])")) start(root);
})();
