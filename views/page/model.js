"use strict";
// The model as the page has it. An item is a number: modules are 0 .. modules-1 in tree order, nodes follow in file order.
// Columns of the data: nodes.op, .origin, .attributes, .module are positions in lists; nodes.reads are values (-1: absent);
// nodes.makes counts values, which are numbered through in the order of nodes; given values (i input, w weight, o outside)
// come after those. results are [value, node]: what a body hands to the node that owns it.

const view = JSON.parse(document.getElementById("data").textContent);
document.getElementById("data").remove();

const model = (() => {
  const { modules, nodes, values } = view;
  const moduleCount = modules.parent.length, nodeCount = nodes.op.length;
  const parent = Int32Array.from(modules.parent);
  const end = new Int32Array(moduleCount), inside = new Int32Array(moduleCount), own = new Int32Array(moduleCount);
  const level = new Int32Array(moduleCount), first = new Int32Array(moduleCount).fill(nodeCount);
  const home = Int32Array.from(nodes.module);
  const children = Array.from({ length: moduleCount }, () => []);
  const ownNodes = Array.from({ length: moduleCount }, () => []);
  const paths = new Array(moduleCount), tags = new Array(moduleCount);
  const byPath = new Map();
  for (let m = 0; m < moduleCount; m++) {
    const above = parent[m], tag = modules.tag[m];
    paths[m] = above < 0 ? "" : paths[above] ? paths[above] + "." + modules.name[m] : modules.name[m];
    tags[m] = Array.isArray(tag) ? tags[above] + "/" + tag[0] : tag;
    byPath.set(paths[m], m);
    if (above >= 0) { children[above].push(m); level[m] = level[above] + 1; }
  }
  for (let i = 0; i < nodeCount; i++) {
    own[home[i]]++;
    ownNodes[home[i]].push(i);
    if (i < first[home[i]]) first[home[i]] = i;
  }
  for (let m = moduleCount - 1; m >= 0; m--) {
    inside[m] += own[m];
    end[m] = Math.max(m + 1, end[m]);
    const above = parent[m];
    if (above >= 0) {
      inside[above] += inside[m];
      end[above] = Math.max(end[above], end[m]);
      first[above] = Math.min(first[above], first[m]);
    }
  }

  // Values: who makes them, how they are called, who reads them.
  const valueCount = values.name.length, maker = new Int32Array(valueCount).fill(-1), start = new Int32Array(nodeCount + 1);
  for (let i = 0, v = 0; i < nodeCount; i++) {
    start[i] = v;
    for (let k = 0; k < nodes.makes[i]; k++) maker[v++] = i;
    start[i + 1] = v;
  }
  const valueName = v => values.name[v] === 0 ? `${nodes.name[maker[v]]}_output_${v - start[maker[v]]}` : values.name[v];
  const kindOf = v => maker[v] >= 0 ? "m" : values.given[v - start[nodeCount]];
  let readersOf = null;
  const readers = v => {
    if (!readersOf) {
      readersOf = new Map();
      for (let i = 0; i < nodeCount; i++) for (const r of new Set(nodes.reads[i])) {
        if (r < 0) continue;
        const list = readersOf.get(r);
        if (list) list.push(i); else readersOf.set(r, [i]);
      }
    }
    return readersOf.get(v) || [];
  };

  const graphStart = [];
  const graphOf = new Int32Array(nodeCount), positionOf = new Int32Array(nodeCount);
  view.graphs.forEach(([, count], graph) => {
    const from = graph ? graphStart[graph - 1] : 0;
    graphStart.push(from + count);
    for (let i = 0; i < count; i++) { graphOf[from + i] = graph; positionOf[from + i] = i; }
  });
  const key = i => view.keys[i] ?? (nodes.name[i] || `${view.graphs[graphOf[i]][0]}#${positionOf[i]}:${operator(i)}`);
  const operator = i => view.operators[nodes.op[i]][0];

  const isModule = item => item < moduleCount;
  const nodeOf = item => item - moduleCount;
  const itemOf = node => node + moduleCount;
  const moduleOf = item => isModule(item) ? item : home[nodeOf(item)];
  const levelOf = item => isModule(item) ? parent[item] : home[nodeOf(item)]; // the module whose level shows the item
  const within = (inner, outer) => inner >= outer && inner < end[outer];
  const className = m => modules.classes[modules.class[m]][1];
  const qualified = m => modules.classes[modules.class[m]][0];
  const shortName = m => m ? modules.name[m] : "(root)";
  const itemId = item => isModule(item) ? "m:" + paths[item] : "n:" + key(nodeOf(item));

  // Items of a level in file order. Modules without any node come last and are laid out apart.
  const itemsOf = new Map();
  const items = m => {
    let found = itemsOf.get(m);
    if (!found) {
      const at = item => isModule(item) ? first[item] : nodeOf(item);
      const inner = children[m].filter(child => inside[child]);
      found = { placed: [], empty: children[m].filter(child => !inside[child]) };
      const nodesHere = ownNodes[m].map(itemOf);
      let a = 0, b = 0;
      while (a < inner.length || b < nodesHere.length) {
        const module = b >= nodesHere.length || (a < inner.length && at(inner[a]) < at(nodesHere[b]));
        found.placed.push(module ? inner[a++] : nodesHere[b++]);
      }
      itemsOf.set(m, found);
    }
    return found;
  };

  // Each value between two nodes belongs to one level: the innermost module around both. Values that come from
  // constants only are drawn inside one module, never between modules.
  const flows = [];
  let counts = new Int32Array(moduleCount + 1);
  const add = (from, to, value) => {
    let a = home[from], b = home[to];
    if (from === to || (a !== b && nodes.constant[from] === "1")) return;
    while (!within(b, a)) a = parent[a];
    flows.push(a, from, to, value);
    counts[a + 1]++;
  };
  for (let i = 0; i < nodeCount; i++) {
    const reads = nodes.reads[i];
    for (let k = 0; k < reads.length; k++) {
      const value = reads[k];
      if (value >= 0 && maker[value] >= 0 && (k === 0 || reads.indexOf(value) === k)) add(maker[value], i, value);
    }
  }
  for (const [value, owner] of view.results) add(maker[value], owner, value);
  for (let m = 0; m < moduleCount; m++) counts[m + 1] += counts[m];
  const levelStart = counts, sorted = new Int32Array(flows.length / 4 * 3), next = counts.slice();
  for (let f = 0; f < flows.length; f += 4) {
    const place = 3 * next[flows[f]]++;
    sorted[place] = flows[f + 1]; sorted[place + 1] = flows[f + 2]; sorted[place + 2] = flows[f + 3];
  }
  const childIn = (node, m) => { // the item of level m that shows a node
    let at = home[node];
    if (at === m) return itemOf(node);
    while (parent[at] !== m) at = parent[at];
    return at;
  };

  // Edges between shown items of a level: [{from, to, values, faint}], in file order.
  const MANY = 8;
  const edges = (m, shown) => {
    const pairs = new Map(), readBy = new Map();
    for (let f = 3 * levelStart[m]; f < 3 * levelStart[m + 1]; f += 3) {
      const to = childIn(sorted[f + 1], m), value = sorted[f + 2];
      let seen = readBy.get(value);
      if (!seen) readBy.set(value, seen = new Set());
      seen.add(to);
    }
    for (let f = 3 * levelStart[m]; f < 3 * levelStart[m + 1]; f += 3) {
      const from = childIn(sorted[f], m), to = childIn(sorted[f + 1], m), value = sorted[f + 2];
      if (from === to || !shown.has(from) || !shown.has(to)) continue;
      const name = from + ">" + to;
      let pair = pairs.get(name);
      if (!pair) pairs.set(name, pair = { from, to, values: new Set(), faint: true });
      pair.values.add(value);
      if (readBy.get(value).size <= MANY) pair.faint = false;
    }
    return [...pairs.values()];
  };

  // Sources and confidence: a module has its lowest.
  const lowest = new Float64Array(moduleCount).fill(2), weakest = new Int32Array(moduleCount).fill(-1);
  for (let i = 0; i < nodeCount; i++) {
    const m = home[i], origin = nodes.origin[i];
    if (view.origins[origin][2] < lowest[m]) { lowest[m] = view.origins[origin][2]; weakest[m] = origin; }
  }
  for (let m = moduleCount - 1; m > 0; m--) {
    const above = parent[m];
    if (lowest[m] < lowest[above]) { lowest[above] = lowest[m]; weakest[above] = weakest[m]; }
  }
  const GUESSED = new Set(["inherited", "fallback", ""]);
  const originOf = item => isModule(item) ? weakest[item] : nodes.origin[nodeOf(item)];
  const source = item => { const o = originOf(item); return o < 0 ? null : view.origins[o][0]; };
  const confidence = item => { const o = originOf(item); return o < 0 ? null : view.origins[o][2]; };
  const guessedIn = new Int32Array(moduleCount);
  for (let i = 0; i < nodeCount; i++) if (GUESSED.has(view.origins[nodes.origin[i]][0])) guessedIn[home[i]]++;
  for (let m = moduleCount - 1; m > 0; m--) guessedIn[parent[m]] += guessedIn[m];
  const isGuess = item => isModule(item) ? inside[item] > 0 && guessedIn[item] === inside[item] : GUESSED.has(source(item));

  const parametersIn = Float64Array.from(modules.parameters);
  for (let m = moduleCount - 1; m > 0; m--) parametersIn[parent[m]] += parametersIn[m];

  const number = value => value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
  const overlays = view.overlays.map(overlay => {
    const of = new Map();
    overlay.modules[0].forEach((m, at) => of.set(m, number(overlay.modules[1][at])));
    overlay.nodes[0].forEach((i, at) => of.set(itemOf(i), number(overlay.nodes[1][at])));
    return { ...overlay, of };
  });
  const marked = overlays.find(overlay => Object.keys(overlay.marks).length || Object.keys(overlay.gone).length);
  const mark = item => marked && !isModule(item) ? marked.marks[nodeOf(item)] : undefined;

  return {
    moduleCount, nodeCount, parent, end, inside, own, level, children, ownNodes, paths, tags, byPath, home, first, start, maker,
    valueName, valueCount, kindOf, readers, key, operator, graphOf, isModule, nodeOf, itemOf, moduleOf, levelOf, within,
    className, qualified, shortName, itemId, items, edges, source, confidence, originOf, isGuess, guessedIn, parametersIn,
    overlays, marked, mark,
  };
})();
