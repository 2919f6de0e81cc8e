/**
 * What can be folded: scopes, groups, time steps.
 */

/** Rows of the outline; graphs with more scopes than this are folded from their nodes. */
const MOST_ROWS = 300;

class Outline {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    find("#fold-all").onclick = () => this.foldAll(true);
    find("#unfold-all").onclick = () => this.foldAll(false);
    find("#fold-steps").onclick = () => this.#foldSteps(true);
    find("#unfold-steps").onclick = () => this.#foldSteps(false);
  }

  /** Fold all outermost scopes, or groups where there are no scopes; or unfold everything. */
  foldAll(isFolded) {
    const { folding, graph } = this.app;
    if (!isFolded) {
      this.app.fold([...folding.keys], false);
      return;
    }
    const scopes = [...folding.scopes.keys()].filter((scope) => !scope.includes("/")).map((scope) => `scope:${scope}`);
    const groups = graph.groups.flatMap((group, number) => (group.parent === null ? [`group:${number}`] : []));
    const steps = graph.steps.map((step) => `step:${step}`);
    this.app.fold([scopes, groups, steps].find((keys) => keys.length > 0) ?? [], true);
  }

  #foldSteps(isFolded) {
    const [first, last] = [find("#first-step").valueAsNumber, find("#last-step").valueAsNumber];
    const keys = this.app.graph.steps.filter((step) => step >= first && step <= last).map((step) => `step:${step}`);
    this.app.fold(keys, isFolded);
  }

  /** Show what there is, and what of it is folded. */
  update() {
    const { folding, graph } = this.app;
    const rows = [...folding.scopes].map(([scope, count]) => {
      const parts = scope.split("/");
      return [`scope:${scope}`, parts[parts.length - 1], count, parts.length - 1];
    });
    const sizes = new Map();
    for (const group of graph.columns.group) if (group >= 0) sizes.set(group, (sizes.get(group) ?? 0) + 1);
    graph.groups.forEach((group, number) => {
      const depth = group.parent === null ? 0 : 1;
      rows.push([`group:${number}`, `${group.label} (${group.kind})`, sizes.get(number) ?? 0, depth]);
    });
    const items = rows.slice(0, MOST_ROWS).map((row) => this.#item(...row));
    if (rows.length > MOST_ROWS) {
      items.push(element("li", {}, `and ${grouping(rows.length - MOST_ROWS)} more: fold them from a node, with c`));
    }
    if (items.length === 0) items.push(element("li", {}, "no scopes"));
    find("#scopes").replaceChildren(...items);
    find("#steps").hidden = graph.steps.length === 0;
    for (const [id, at] of [["#first-step", 0], ["#last-step", -1]]) {
      const field = find(id);
      if (field.value === "") field.value = String(graph.steps.at(at) ?? 0);
    }
  }

  #item(key, name, count, depth) {
    const box = element("input", {
      type: "checkbox", checked: !this.app.folding.keys.has(key), "data-key": key,
      onchange: () => this.app.fold([key], !box.checked),
    });
    const row = element("li", {}, element("label", {}, box, element("span", { className: "name" }, clipped(name)), element("small", {}, counted(count, "node"))));
    row.style.paddingInlineStart = `${depth * 18}px`;
    return row;
  }
}
