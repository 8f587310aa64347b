"use strict";
// What is known of the selected module or node, and the search.

const details = (() => {
  const root = document.getElementById("details"), LISTED = 60;
  const listeners = { select: () => {} };
  const element = (name, className, text) => {
    const found = document.createElement(name);
    if (className) found.className = className;
    if (text !== undefined) found.textContent = text;
    return found;
  };
  const breakable = text => { // lines may end behind dots and slashes
    const box = document.createDocumentFragment();
    for (const part of text.split(/(?<=[^./][./])/)) box.append(part, document.createElement("wbr"));
    return box;
  };
  const field = (list, label, name, content) => {
    const value = element("dd");
    value.dataset.field = name;
    value.append(content instanceof Node ? content : breakable(content));
    const wide = content instanceof Element && content.classList.contains("lines") ? "wide" : "";
    value.className = wide;
    list.append(element("dt", wide, label), value);
    return value;
  };
  const go = (item, text, title) => {
    const button = element("button", "link");
    button.append(breakable(text));
    button.type = "button";
    if (title) button.title = title;
    button.addEventListener("click", () => listeners.select(item));
    return button;
  };
  const lines = (entries, make) => {
    const box = element("div", "lines");
    const more = from => {
      for (const entry of entries.slice(from, from + LISTED)) box.append(make(entry));
      if (entries.length > from + LISTED) {
        const button = element("button", "link more-lines", `${(entries.length - from - LISTED).toLocaleString("en")} more`);
        button.type = "button";
        button.addEventListener("click", () => { button.remove(); more(from + LISTED); });
        box.append(button);
      }
    };
    more(0);
    return box;
  };
  const head = (kind, title, cls) => {
    const box = element("header");
    box.append(element("p", "kind", kind), element("h2", "", title));
    if (cls) box.append(element("p", "cls", cls));
    return box;
  };
  const percent = share => share > 0 && share < .001 ? "< 0.1 %" : `${(100 * share).toFixed(share < .1 ? 1 : 0)} %`;
  const overlayFields = (list, item) => {
    if (!model.overlays.length) return;
    const box = element("div", "lines");
    for (const overlay of model.overlays) {
      const row = element("div", "pair"), value = overlay.of.get(item), whole = overlay.of.get(0);
      const shown = element("span", "value", value === undefined ? "\u2013" : colours.format(value, overlay.unit));
      shown.dataset.field = "overlay:" + overlay.name;
      row.append(element("span", "what", overlay.name), shown);
      if (value !== undefined && overlay.aggregate === "sum" && whole > 0 && item !== 0) row.append(element("span", "share", percent(value / whole)));
      box.append(row);
    }
    field(list, "overlays", "overlays", box);
  };
  const evidence = (source, confidence) => {
    const guess = ["inherited", "fallback", ""].includes(source);
    const box = element("span", "evidence" + (guess ? " guess" : ""));
    box.append(element("span", "meter"), element("span", "", guess ? " a guess" : ""));
    box.firstChild.style.setProperty("--share", confidence);
    return box;
  };

  const showModule = m => {
    const list = element("dl"), path = model.paths[m];
    field(list, "path", "path", path || "(root)");
    field(list, "class", "class", model.qualified(m) || "not known");
    field(list, "tag", "tag", model.tags[m]);
    field(list, "nodes", "nodes", model.own[m].toLocaleString("en"));
    field(list, "nodes inside", "nodes inside", model.inside[m].toLocaleString("en"));
    if (view.modules.calls[m] !== 1) field(list, "calls", "calls", String(view.modules.calls[m]));
    const parameters = view.modules.parameters[m], all = model.parametersIn[m];
    field(list, "parameters", "parameters", parameters.toLocaleString("en"));
    if (all !== parameters) field(list, "parameters inside", "parameters inside", all.toLocaleString("en"));
    overlayFields(list, m);
    if (model.inside[m]) {
      const counts = new Map(), sources = new Map();
      for (let i = model.first[m]; i < model.nodeCount; i++) {
        if (!model.within(model.home[i], m)) continue;
        counts.set(model.operator(i), (counts.get(model.operator(i)) || 0) + 1);
        const source = view.origins[view.nodes.origin[i]][0] || "no tag";
        sources.set(source, (sources.get(source) || 0) + 1);
      }
      const pairs = ([what, count]) => {
        const row = element("div", "pair");
        row.append(element("span", "what", what), element("span", "value", count.toLocaleString("en")));
        return row;
      };
      field(list, "known by", "sources", lines([...sources].sort((a, b) => b[1] - a[1]), pairs));
      field(list, "lowest", "confidence", String(model.confidence(m)));
      field(list, "operators", "operators", lines([...counts].sort((a, b) => b[1] - a[1]), pairs));
    } else field(list, "operators", "operators", "none in this graph");
    if (model.marked && model.marked.gone[m]) field(list, `${model.marked.other} (diff)`, model.marked.other, lines(model.marked.gone[m], text => element("div", "gone " + model.marked.other, text)));
    root.replaceChildren(head("module", model.shortName(m), model.className(m)), list);
  };

  const showNode = i => {
    const list = element("dl"), m = model.home[i], [source, rule, confidence] = view.origins[view.nodes.origin[i]], [type, domain] = view.operators[view.nodes.op[i]];
    field(list, "name", "name", view.nodes.name[i] || "");
    if (model.key(i) !== view.nodes.name[i]) field(list, "key", "key", model.key(i));
    field(list, "operator", "operator", type);
    field(list, "domain", "domain", domain || "ai.onnx");
    field(list, "module", "module", go(m, model.paths[m] || "(root)"));
    field(list, "class", "class", model.qualified(m) || "not known");
    field(list, "tag", "tag", model.tags[m]);
    field(list, "source", "source", source || "none");
    field(list, "rule", "rule", rule);
    const value = field(list, "confidence", "confidence", String(confidence));
    if (source) value.after(evidence(source, confidence));
    const graph = view.graphs[model.graphOf[i]][0];
    if (graph !== "main") field(list, "graph", "graph", graph);
    overlayFields(list, model.itemOf(i));
    const mark = model.mark(model.itemOf(i));
    if (mark) field(list, "diff", "diff", mark);
    const attributes = view.attributes[view.nodes.attributes[i]];
    if (attributes.length) field(list, "attributes", "attributes", lines(attributes, ([name, text]) => {
      const row = element("div", "attribute");
      row.append(element("span", "what", name), element("span", "value", text));
      return row;
    }));
    const valueRow = v => {
      const row = element("div", "value-row");
      const made = model.maker[v], kinds = { i: "input", w: "weight", o: "outside" };
      row.append(made >= 0 ? go(model.itemOf(made), model.valueName(v), `made by ${model.operator(made)}`) : element("span", "plain", model.valueName(v)));
      const type = view.types[view.values.type[v]];
      if (type) row.append(element("span", "type", type));
      if (made < 0) row.append(element("span", "kind", kinds[model.kindOf(v)]));
      return row;
    };
    const reads = view.nodes.reads[i];
    field(list, "inputs", "inputs", lines(reads, v => v < 0 ? element("div", "value-row none", "(absent)") : valueRow(v)));
    const makes = [], readBy = new Set();
    for (let v = model.start[i]; v < model.start[i + 1]; v++) { makes.push(v); for (const reader of model.readers(v)) readBy.add(reader); }
    field(list, "outputs", "outputs", lines(makes, v => {
      const row = element("div", "value-row");
      row.append(element("span", "plain", model.valueName(v)));
      const type = view.types[view.values.type[v]];
      if (type) row.append(element("span", "type", type));
      return row;
    }));
    field(list, "readers", "readers", lines([...readBy], reader => {
      const row = element("div", "value-row");
      row.append(go(model.itemOf(reader), model.operator(reader), model.key(reader)), element("span", "kind", model.paths[model.home[reader]] || "(root)"));
      return row;
    }));
    root.replaceChildren(head("node", type, model.paths[m] || "(root)"), list);
  };

  return { show: item => { model.isModule(item) ? showModule(item) : showNode(model.nodeOf(item)); root.scrollTop = 0; }, listeners };
})();

const search = (() => {
  const input = document.getElementById("search"), found = document.getElementById("found"), results = document.getElementById("results"), count = document.getElementById("found-count");
  const MOST = 200, listeners = { select: () => {} };
  let lower = null, timer = 0;

  const prepare = () => {
    const low = text => text.toLowerCase();
    const operators = view.operators.map(([type, domain]) => low(domain ? `${domain}::${type}` : type));
    const given = [];
    for (let v = model.start[model.nodeCount]; v < model.valueCount; v++) given.push([low(model.valueName(v)), v]);
    lower = {
      modules: model.paths.map((path, m) => low(`${path}\n${model.qualified(m)}\n${model.tags[m]}`)),
      names: view.nodes.name.map(low), operators, given,
      // names of values that are not made from the node's own name
      made: view.values.name.slice(0, model.start[model.nodeCount]).map(name => name === 0 ? "" : low(name)),
    };
  };
  (window.requestIdleCallback || (work => setTimeout(work, 400)))(() => { if (!lower) prepare(); }); // the first search then is like others
  const matching = query => {
    if (!lower) prepare();
    const items = [], nodes = new Set(), operators = new Set();
    lower.modules.forEach((text, m) => { if (text.includes(query)) items.push(m); });
    lower.operators.forEach((text, op) => { if (text.includes(query)) operators.add(op); });
    const derived = query.match(/^(.*)_output_\d*$/);
    for (let i = 0; i < model.nodeCount; i++) {
      let hit = operators.has(view.nodes.op[i]) || lower.names[i].includes(query);
      for (let v = model.start[i]; !hit && v < model.start[i + 1]; v++) hit = lower.made[v] ? lower.made[v].includes(query) : view.values.name[v] === 0 && (derived || "_output_".includes(query)) && model.valueName(v).toLowerCase().includes(query);
      if (hit) nodes.add(i);
    }
    for (const [text, v] of lower.given) if (text.includes(query)) for (const reader of model.readers(v)) nodes.add(reader);
    const exact = [];
    for (const i of [...nodes].sort((a, b) => a - b)) (lower.names[i] === query ? exact : items).push(model.itemOf(i));
    return [...exact, ...items];
  };
  const run = () => {
    clearTimeout(timer);
    const query = input.value.trim().toLowerCase();
    found.hidden = !query;
    if (!query) { results.replaceChildren(); results.dataset.count = 0; return; }
    const hits = matching(query);
    results.dataset.count = hits.length;
    count.textContent = hits.length > MOST ? `${MOST} of ${hits.length.toLocaleString("en")} hits` : `${hits.length || "no"} hit${hits.length === 1 ? "" : "s"}`;
    results.replaceChildren(...hits.slice(0, MOST).map(item => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = model.isModule(item) ? "module" : "node";
      const main = document.createElement("span"), sub = document.createElement("span");
      sub.className = "sub";
      if (model.isModule(item)) { main.textContent = model.paths[item] || "(root)"; sub.textContent = model.className(item); }
      else { const i = model.nodeOf(item); main.textContent = `${model.operator(i)}  ${model.key(i)}`; sub.textContent = model.paths[model.home[i]] || "(root)"; }
      button.title = main.textContent;
      button.append(main, sub);
      button.addEventListener("click", () => { listeners.select(item); button.focus(); });
      return button;
    }));
    results.scrollTop = 0;
  };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(run, 90); });
  input.addEventListener("keydown", event => {
    if (event.key === "Enter") { run(); const first = results.querySelector("button"); if (first) first.click(); }
    else if (event.key === "ArrowDown") { run(); const first = results.querySelector("button"); if (first) { event.preventDefault(); first.focus(); } }
    else if (event.key === "Escape") { input.value = ""; run(); }
    event.stopPropagation();
  });
  results.addEventListener("keydown", event => {
    const at = event.target, go = other => { event.preventDefault(); event.stopPropagation(); (other || input).focus(); };
    if (event.key === "ArrowDown") go(at.nextElementSibling || at);
    else if (event.key === "ArrowUp") go(at.previousElementSibling);
    else if (event.key === "Escape") { input.value = ""; run(); go(input); }
  });
  return { listeners, focus: () => { input.focus(); input.select(); } };
})();
