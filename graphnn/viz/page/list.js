/**
 * The nodes as a list: what the picture says, in text and for the keyboard. Only the rows in sight
 * are elements, so that lists of 100,000 nodes scroll.
 */
const ROW = 36;

class NodeList {
  /**
   * @param {HTMLElement} place an element that scrolls
   * @param {(node: number) => object} describe what a row shows: name, detail, colour
   * @param {(node: number) => void} choose
   */
  constructor(place, describe, choose) {
    this.place = place;
    this.describe = describe;
    this.choose = choose;
    /** @type {ArrayLike<number>} */
    this.nodes = [];
    this.active = -1;
    this.inside = element("div", { className: "rows" });
    place.replaceChildren(this.inside);
    place.addEventListener("scroll", () => this.#fill());
    place.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#fill()).observe(place);
  }

  /** Show these nodes. */
  set(nodes) {
    this.nodes = nodes;
    this.active = Math.min(this.active, nodes.length - 1);
    this.inside.style.height = `${nodes.length * ROW}px`;
    this.#fill();
  }

  /** Mark a row and bring it into sight. */
  activate(row) {
    if (this.nodes.length === 0) return;
    this.active = Math.min(Math.max(row, 0), this.nodes.length - 1);
    const top = this.active * ROW;
    const { scrollTop, clientHeight } = this.place;
    if (top < scrollTop) this.place.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.place.scrollTop = top + ROW - clientHeight;
    this.#fill();
  }

  #fill() {
    const { scrollTop, clientHeight } = this.place;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - 2);
    const last = Math.min(this.nodes.length, Math.ceil((scrollTop + clientHeight) / ROW) + 2);
    const rows = [];
    for (let row = first; row < last; row++) rows.push(this.#row(row));
    this.inside.replaceChildren(...rows);
    const isThere = this.active >= first && this.active < last;
    if (isThere) this.place.setAttribute("aria-activedescendant", `${this.place.id}-${this.active}`);
    else this.place.removeAttribute("aria-activedescendant");
  }

  #row(row) {
    const node = this.nodes[row];
    const { name, detail, colour } = this.describe(node);
    const made = element(
      "div",
      {
        className: "row", id: `${this.place.id}-${row}`, role: "option", "aria-selected": String(row === this.active),
        "aria-setsize": String(this.nodes.length), "aria-posinset": String(row + 1),
        onclick: () => {
          this.activate(row);
          this.choose(node);
        },
      },
      dot(colour),
      element("span", { className: "name" }, name),
      element("small", {}, detail),
    );
    made.style.top = `${row * ROW}px`;
    return made;
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.place.clientHeight / ROW) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) this.activate(this.active + moves[event.key]);
    else if (event.key === "Enter" && this.active >= 0) this.choose(this.nodes[this.active]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
