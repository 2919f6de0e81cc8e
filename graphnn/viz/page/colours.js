/**
 * Colours: those of Graphnn's pictures, and what becomes of them in the dark.
 */

/** @returns {number[]} red, green and blue of "#rrggbb" */
function channels(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

/** A colour between two others; `part` of 0 is the first, 1 the second. */
function mixed(first, second, part) {
  const [a, b] = [channels(first), channels(second)];
  const sum = a.map((each, i) => Math.round(each + (b[i] - each) * part));
  return `#${sum.map((each) => each.toString(16).padStart(2, "0")).join("")}`;
}

/** Black or white, whichever is easier to read on a colour. */
function readableOn(colour) {
  const [red, green, blue] = channels(colour).map((each) => (each / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.3 ? "#16181b" : "#ffffff";
}

/** The colours of one appearance, light or dark. */
class Theme {
  /**
   * @param {object} style as explorer.py writes it
   * @param {boolean} isDark
   */
  constructor(style, isDark) {
    this.style = style;
    this.isDark = isDark;
    this.ground = isDark ? "#14171b" : "#fcfcfb";
    this.text = isDark ? "#e4e7ea" : "#1d2125";
    this.muted = isDark ? "#98a1aa" : "#5f6870";
    this.accent = isDark ? "#f0b429" : "#1f2328";
    this.nothing = isDark ? "#2a2f35" : "#f0f1f2";
    this.invalid = style.notFinite;
    this.nodes = this.#each(style.nodes, (node) => ({
      fill: isDark ? mixed(node.line, this.ground, 0.72) : node.fill,
      line: this.#line(node.line),
      far: isDark ? mixed(node.line, this.ground, 0.35) : mixed(node.fill, node.line, 0.45),
      radius: node.radius,
    }));
    this.edges = this.#each(style.edges, (edge) => ({
      line: this.#line(edge.line),
      width: edge.width,
      dashes: edge.dashes.split(" ").filter(Boolean).map(Number),
    }));
    this.bands = this.#each(style.bands, ({ fill, line }) => ({
      fill: isDark ? mixed(line, this.ground, 0.93) : fill,
      line: this.#line(line),
    }));
    this.relations = {
      selected: this.accent,
      input: this.edges.data.line,
      output: this.edges.data.line,
      derivative: this.edges.gradient.line,
      origin: this.edges.recurrent.line,
      saved: this.edges.saved.line,
      recomputed: this.edges.saved.line,
    };
    const { relations } = this;
    this.changes = { added: this.#line("#00795a"), removed: this.#line("#b3261e"), merged: relations.saved, changed: relations.origin };
  }

  /** Area and line of a band, by its tone. */
  band(tone) {
    return this.bands[tone] ?? this.bands.scope;
  }

  /** The frame of a group, by its kind. */
  group(kind) {
    return this.#line({ fusion: "#a8497f", loop: "#00795a", branch: "#8a6d00" }[kind] ?? "#555555");
  }

  #line(colour) {
    return this.isDark ? mixed(colour, "#ffffff", 0.38) : colour;
  }

  #each(table, make) {
    return Object.fromEntries(Object.entries(table).map(([name, value]) => [name, make(value)]));
  }
}
