/**
 * The panel beside the picture, with its tabs.
 */
class Panel {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.place = find("#panel");
    this.tabs = [...document.querySelectorAll("[role=tab]")];
    find("#panel-button").onclick = () => this.show(this.place.hidden);
    for (const tab of this.tabs) {
      tab.onclick = () => this.open(tab.id.slice(4));
      tab.onkeydown = (event) => this.#step(tab, { ArrowRight: 1, ArrowLeft: -1 }[event.key]);
    }
  }

  /** Show or hide it. */
  show(isShown) {
    if (this.place.hidden !== isShown) return;
    this.place.hidden = !isShown;
    find("#panel-button").setAttribute("aria-expanded", String(isShown));
    this.app.redraw();
  }

  /** Open one of its tabs: "details", "outline", "list" or "notes". */
  open(name) {
    for (const tab of this.tabs) {
      const isChosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      find(`#${tab.getAttribute("aria-controls")}`).hidden = !isChosen;
    }
  }

  /** From a tab to one beside it that is shown, by the keyboard. */
  #step(tab, by) {
    if (!by) return;
    const seen = this.tabs.filter((each) => !each.hidden);
    const next = seen[(seen.indexOf(tab) + by + seen.length) % seen.length];
    this.open(next.id.slice(4));
    next.focus();
  }
}
