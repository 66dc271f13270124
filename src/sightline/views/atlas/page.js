// The atlas in the browser: sends wishes, shows news. Text from the server is set as text only.
(() => {
  "use strict";
  const by = (id) => document.getElementById(id);
  const make = (tag, text = "", kind = "") => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const asked = by("asked"), pair = by("pair"), map = by("map");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const LONGEST_LINK = 8000;
  let ask = null, wishes = 0;

  const wish = (what) => {
    if (ask) ask.data = { json: [JSON.stringify({ ...what, number: ++wishes })] };
  };

  // A drawing of what stands in the legend, told apart by its pattern as well as by its color.
  const STROKES = { minus: "M7 8h10", plus: "M7 8h10M12 3v10", star: "M7 8h10M12 3v10M8.5 4.5l7 7M15.5 4.5l-7 7" };
  const swatch = (sign, color, over) => {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 24 16");
    svg.setAttribute("aria-hidden", "true");
    const add = (tag, values) => {
      const part = document.createElementNS(space, tag);
      for (const [name, value] of Object.entries(values)) part.setAttribute(name, value);
      svg.append(part);
    };
    if (sign === "solid" || sign in STROKES) add("rect", { width: 24, height: 16, fill: color });
    if (sign in STROKES) add("path", { d: STROKES[sign], stroke: over, "stroke-width": 2 });
    if (sign === "shade")
      for (let at = 0; at < 4; at++)
        add("rect", { x: at * 6, width: 6, height: 16, fill: color, "fill-opacity": 0.3 + at * 0.18 });
    if (sign === "hatch")
      for (let at = -16; at < 24; at += 6)
        add("path", { d: `M${at} 16l16 -16`, stroke: color, "stroke-width": 1.5 });
    if (sign === "dash")
      add("path", { d: "M0 8h24", stroke: color, "stroke-width": 1.5, "stroke-dasharray": "6 3" });
    if (sign === "dots")
      for (const x of [4, 12, 20])
        for (const y of [4, 12]) add("circle", { cx: x, cy: y, r: 1.8, fill: color });
    return svg;
  };

  const branch = (part) => {
    const item = make("li");
    const line = make("p");
    line.append(make("code", part.expression), " ", make("span", `${part.allowed ? "✓" : "✗"} ${part.says}`, "says"));
    if (part.decides) line.append(make("span", part.decides, "decides"));
    item.append(line, make("p", part.words));
    if (part.parts.length) {
      const below = make("ul");
      below.append(...part.parts.map(branch));
      item.append(below);
    }
    return item;
  };

  const reason = (tree) => {
    const whole = make("div", "", tree.allowed ? "yes" : "no");
    whole.append(make("p", tree.headline, `verdict ${tree.allowed ? "yes" : "no"}`));
    const text = make("p", "", "code");
    for (const [piece, decides] of tree.pieces) text.append(decides ? make("mark", piece) : piece);
    const list = make("ul", "", "tree");
    list.append(branch(tree.tree));
    whole.append(text, list);
    return whole;
  };

  // What the address asks for stays in the fields when it cannot be drawn, to be corrected there.
  const recall = () => {
    const query = new URLSearchParams(location.search);
    for (const [name, usual] of [["expr", ""], ["compare", ""], ["size", "1m"], ["offset", "0"]])
      asked[name].value ||= query.get(name) ?? usual;
  };

  const show = {
    error(news) {
      by("problem").hidden = false;
      // Only what stands above a caret must keep its columns; the sentence before it may wrap.
      const [sentence, ...below] = news.text.split("\n");
      by("problem").querySelector("pre").replaceChildren(make("span", sentence), ...below.map((line) => `\n${line}`));
      by("problem").querySelector("p").textContent = news.stale;
      if (!map.dataset.drawn) recall();
      map.dataset.busy = "0";
      for (const field of asked.elements)
        if (field.name) field.setAttribute("aria-invalid", String(field.name === news.which));
    },
    state(news) {
      by("problem").hidden = true;
      for (const name of ["expr", "compare", "size", "offset", "batch", "head"])
        if (document.activeElement !== asked[name]) asked[name].value = news[name];
      for (const [name, many] of [["batch", news.batches], ["head", news.heads]]) {
        const label = asked.querySelector(`[data-when=${name}]`);
        label.hidden = many < 2;
        label.querySelector("small").textContent = `0–${many - 1}`;
      }
      if (news.query.length < LONGEST_LINK) history.replaceState(null, "", `?${news.query}`);
      const other = by("language");
      const query = new URLSearchParams(location.search);
      query.set("lang", other.hreflang);
      other.href = `?${query}`;
    },
    busy() { map.dataset.busy = "1"; },
    drawn(news) {
      map.dataset.busy = "0";
      map.dataset.cell = news.cell;
      map.dataset.view = news.view;
      map.dataset.unsure = news.unsure;
      map.dataset.ms = news.ms;
      map.dataset.drawn = Number(map.dataset.drawn || 0) + 1;
      by("scale").textContent = news.text;
    },
    legend(news) {
      by("legend").replaceChildren(...news.rows.map(([sign, color, text, over]) => {
        const item = make("li");
        item.append(swatch(sign, color, over), make("span", text));
        return item;
      }));
    },
    facts(news) {
      by("facts").dataset.busy = news.busy ? "1" : "0";
      by("facts").replaceChildren(...news.rows.flatMap(([name, value, note]) => {
        if (note === "words") {
          const line = make("dd", value.trimStart(), "words");
          line.style.setProperty("--depth", value.length - value.trimStart().length);
          return [line];
        }
        const held = make("dd", value, note === "warn" ? "warn" : "");
        if (note && note !== "warn") held.append(" ", make("small", note));
        return [make("dt", name), held];
      }));
    },
    why(news) {
      const why = by("why");
      delete why.dataset.pair;
      if (news.clear) return why.replaceChildren(by("hint").content.cloneNode(true));
      if (news.error) return why.replaceChildren(make("p", news.error, "problem"));
      pair.query.value = news.query;
      pair.key.value = news.key;
      why.replaceChildren(...(news.note ? [make("p", news.note, "note")] : []), ...news.trees.map(reason));
      why.dataset.pair = `${news.query},${news.key}`;
    },
  };

  const start = (bokeh) => {
    const said = bokeh.get_model_by_name("said");
    const plot = bokeh.get_model_by_name("map");
    ask = bokeh.get_model_by_name("ask");
    const hear = () => {
      const news = JSON.parse(said.data.json[0]);
      show[news.kind](news);
    };
    said.properties.data.change.connect(hear);
    const readout = document.querySelector(".readout");
    const [query, key] = [...pair.querySelectorAll("label")].map((label) => label.firstChild.textContent);
    plot.on_event("mousemove", (at) => {
      const [row, column] = [Math.round(at.y), Math.round(at.x)];
      readout.textContent = row < 0 || column < 0 ? "" :
        `${query} ${row.toLocaleString("en")}, ${key} ${column.toLocaleString("en")}`;
    });
    bokeh.on_event("connection_lost", () => {
      by("problem").hidden = false;
      by("problem").querySelector("pre").textContent = by("lost").content.textContent;
    });
    dark.addEventListener("change", () => wish({ do: "theme", dark: dark.matches }));
    wish({ do: "open", search: location.search, dark: dark.matches });
    document.body.dataset.ready = "1";
  };

  asked.addEventListener("submit", (event) => {
    event.preventDefault();
    map.dataset.busy = "1";
    const fields = {};
    for (const field of asked.elements) if (field.name) fields[field.name] = field.value || "";
    for (const name of ["offset", "batch", "head"]) fields[name] ||= "0";
    document.activeElement.blur();
    wish({ do: "show", fields });
  });
  asked.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.tagName === "TEXTAREA" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      asked.requestSubmit();
    }
  });
  pair.addEventListener("submit", (event) => {
    event.preventDefault();
    wish({ do: "why", query: pair.query.value, key: pair.key.value });
  });
  for (const button of document.querySelectorAll("[data-go]"))
    button.addEventListener("click", () => wish({ do: "go", to: button.dataset.go }));
  const KEYS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right",
    "+": "in", "=": "in", "-": "out", 0: "whole", d: "diagonal" };
  map.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    wish({ do: "go", to: KEYS[event.key] });
  });

  const wait = () => {
    const bokeh = globalThis.Bokeh?.documents?.[0];
    if (bokeh?.get_model_by_name("said")) start(bokeh);
    else setTimeout(wait, 20);
  };
  wait();
})();
