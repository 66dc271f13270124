"use strict";
// Sends all that is chosen to the server, and puts its answer into the page. What is shown is
// made there; text from here arrives escaped.
(() => {
  const $ = (id) => document.getElementById(id);
  const given = JSON.parse($("start").textContent);
  // What each system begins with: the examples, in the page's language.
  const {starts, words, systems} = given;
  // What was typed, by system; a system that was not touched shows its example.
  const texts = {};
  // Systems that read the same kind of text take it along.
  const alike = ["encoder", "decoder", "xlnet"];
  const state = {...starts.decoder};
  let serial = 0, ask = null, timer = 0;

  // The address may say what to begin with; what is unknown in it is left out.
  function read() {
    const asked = new URLSearchParams(location.search);
    if (Object.hasOwn(starts, asked.get("system"))) Object.assign(state, starts[asked.get("system")]);
    for (const name of ["first", "second", "mistake"]) if (asked.has(name)) state[name] = asked.get(name);
    for (const name of ["attention", "row", "query"]) {
      if (/^\d{1,3}$/.test(asked.get(name))) state[name] = Number(asked.get(name));
    }
    for (const name of ["side", "window", "shuffle"]) {
      const found = [...$(name).options].find((each) => each.value === asked.get(name));
      if (found) state[name] = name === "side" ? found.value : Number(found.value);
    }
    const step = radios("step").find((each) => each.value === asked.get("step"));
    if (step) state.step = step.value;
  }

  const radios = (name) => [...document.querySelectorAll(`input[name=${name}]`)];
  const check = (name, value) => radios(name).forEach((each) => {each.checked = each.value === String(value);});

  function fill() {
    const system = systems[state.system];
    check("system", state.system);
    check("step", state.step);
    $("about").textContent = system.about;
    $("first").value = state.first;
    $("second").value = state.second;
    $("first-label").textContent = words[system.first];
    $("second-label").textContent = words[system.second || "target"];
    $("second-field").hidden = !system.second;
    for (const name of ["side", "window", "shuffle"]) {
      $(name).value = String(state[name]);
      document.querySelector(`[data-option=${name}]`).hidden = !system.chooses.includes(name);
    }
  }

  function options(select, items, chosen) {
    const wanted = JSON.stringify(items);
    if (select.dataset.items !== wanted) {
      select.dataset.items = wanted;
      select.replaceChildren(...items.map(([value, text]) => new Option(text, value)));
    }
    select.value = chosen;
  }

  function attentions(names, chosen) {
    const box = $("attention");
    if (box.dataset.items !== JSON.stringify(names)) {
      box.dataset.items = JSON.stringify(names);
      box.querySelectorAll("label").forEach((each) => each.remove());
      names.forEach((name, index) => {
        const label = document.createElement("label");
        const input = Object.assign(document.createElement("input"), {type: "radio", name: "attention", value: String(index)});
        const text = document.createElement("span");
        text.textContent = name;
        label.append(input, text);
        box.append(label);
      });
    }
    check("attention", chosen);
  }

  function show(answer) {
    $("waiting").hidden = true;
    $("error").hidden = !answer.error;
    $("error").textContent = answer.error;
    $("shown").classList.toggle("stale", Boolean(answer.error));
    Object.assign($("page").dataset, {serial: String(answer.serial), busy: "0"});
    if (answer.error) return;
    for (const name of ["attention", "row", "mistake"]) state[name] = answer[name];
    $("shown").hidden = false;
    $("mask").textContent = answer.mask;
    attentions(answer.attentions, answer.attention);
    options($("row"), answer.rows.map((text, index) => [String(index), text]), String(answer.row));
    $("row-field").hidden = answer.rows.length < 2;
    options($("mistake"), [["", words.none], ...answer.mistakes], answer.mistake);
    $("query-label").textContent = answer.writes ? words.written : words.query;
    $("query").max = String(answer.queries.length - 1);
    $("query").value = String(answer.query);
    $("query").setAttribute("aria-valuetext", answer.queries[answer.query]);
    const upTo = answer.queries.slice(answer.writes ? 0 : answer.query, answer.query + 1);
    $("query-token").textContent = upTo.join(" ");
    $("told").innerHTML = answer.told;
    for (const name of ["picture", "looked", "wrong"]) $(name).innerHTML = answer[name];
    remember();
  }

  // The address bar holds what is seen, so that it can be sent to somebody.
  function remember() {
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      const usual = name !== "lang" && name !== "system" && value === starts[state.system][name];
      if (!usual) kept.set(name, String(value));
    }
    history.replaceState(null, "", `?${kept}`);
    kept.set("lang", state.lang === "zh" ? "en" : "zh");
    $("other-language").href = `?${kept}`;
  }

  function send(wait = 0) {
    clearTimeout(timer);
    $("page").dataset.busy = "1";
    timer = setTimeout(() => {
      timer = 0;
      if (ask === null) return;
      serial += 1;
      ask.data = {json: [JSON.stringify({...state, serial})]};
    }, wait);
  }

  function choose(system) {
    texts[state.system] = [state.first, state.second];
    const typed = state.first !== starts[state.system].first;
    const along = typed && alike.includes(state.system) && alike.includes(system);
    const {side, step} = state;
    const [first, second] = along ? [state.first, ""] : texts[system] || [starts[system].first, starts[system].second];
    Object.assign(state, starts[system], {side, step, first, second});
    fill();
    send();
  }

  function turn(by) {
    const wanted = Number($("query").value) + by;
    if (wanted < 0 || wanted > Number($("query").max)) return;
    state.query = wanted;
    send();
  }

  $("form").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("change", ({target}) => {
    if (target.name === "system") return choose(target.value);
    if (target.name === "step") state.step = target.value;
    else if (target.name === "attention") Object.assign(state, {attention: Number(target.value), query: starts.decoder.query, mistake: ""});
    else if (["side", "mistake"].includes(target.id)) state[target.id] = target.value;
    else if (["window", "shuffle", "row"].includes(target.id)) state[target.id] = Number(target.value);
    else return;
    if (target.id === "row") state.query = starts.decoder.query;
    send();
  });
  document.addEventListener("input", ({target}) => {
    if (target.id === "first" || target.id === "second") {
      state[target.id] = target.value;
      send(200);
    } else if (target.id === "query") {
      state.query = Number(target.value);
      send();
    }
  });
  $("before").addEventListener("click", () => turn(-1));
  $("after").addEventListener("click", () => turn(1));

  function connect() {
    const held = window.Bokeh && Bokeh.documents.find((each) => each.get_model_by_name("ask"));
    if (!held) return void setTimeout(connect, 30);
    const said = held.get_model_by_name("said");
    said.properties.data.change.connect(() => {
      const answer = JSON.parse(said.data.json[0]);
      // What was asked meanwhile makes this answer an old one.
      if (answer.serial === serial && !timer) show(answer);
    });
    held.on_event("connection_lost", () => {
      $("error").textContent = words.lost;
      $("error").hidden = false;
    });
    ask = held.get_model_by_name("ask");
    send();
  }

  read();
  fill();
  connect();
})();
