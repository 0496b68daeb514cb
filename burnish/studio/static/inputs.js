// What a person wants of each action dimension: keys that are held, sliders, and a gamepad's axes; together one vector.

const PAIRS = [
  ["ArrowLeft", "ArrowRight"], ["ArrowDown", "ArrowUp"], ["KeyS", "KeyW"], ["KeyA", "KeyD"],
  ["KeyK", "KeyI"], ["KeyJ", "KeyL"], ["KeyF", "KeyR"], ["KeyG", "KeyT"],
];
const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowDown: "↓", ArrowUp: "↑" };
const DEAD = 0.15;

export const shownKey = (code) => SHOWN[code] ?? code.replace("Key", "");
export const keysOf = (dimension) => PAIRS[dimension] ?? null;

export class Inputs {
  /** `changed(action, held, event)` is called whenever something changes, `pressed(index)` for a gamepad's button. */
  constructor(count, changed, pressed) {
    Object.assign(this, { count, changed, pressed, keys: new Set(), base: Array(count).fill(0), strength: 1, dragged: false, axes: [], buttons: [], polling: false });
    this.down = (event) => this.key(event, true);
    this.up = (event) => this.key(event, false);
    this.release = () => this.letGo();
    addEventListener("keydown", this.down);
    addEventListener("keyup", this.up);
    addEventListener("blur", this.release);
    document.addEventListener("visibilitychange", this.release);
    this.poll = () => this.look();
    this.plugged = () => this.polling || this.look();
    addEventListener("gamepadconnected", this.plugged);
    this.look();
  }

  stop() {
    this.stopped = true;
    removeEventListener("keydown", this.down);
    removeEventListener("keyup", this.up);
    removeEventListener("blur", this.release);
    removeEventListener("gamepadconnected", this.plugged);
    document.removeEventListener("visibilitychange", this.release);
  }

  get held() {
    return this.keys.size > 0 || this.dragged || this.axes.some((value) => value !== 0);
  }

  get action() {
    return this.base.map((value, dimension) => {
      const pair = keysOf(dimension);
      const pressed = pair ? Number(this.keys.has(pair[1])) - Number(this.keys.has(pair[0])) : 0;
      return Math.min(1, Math.max(-1, value + this.strength * pressed + (this.axes[dimension] ?? 0)));
    });
  }

  key(event, down) {
    const dimension = PAIRS.findIndex((pair) => pair.includes(event.code));
    if (dimension < 0 || dimension >= this.count || event.ctrlKey || event.metaKey || event.altKey) return;
    // A field, and (of arrows) a slider that has the focus, want these keys themselves.
    const fields = event.code.startsWith("Arrow") ? "input:not([type=checkbox]), select" : "input:not([type=checkbox]):not([type=range]), select";
    if (down && event.target.closest?.(fields)) return;
    if (down) event.preventDefault();
    if (event.repeat || down === this.keys.has(event.code)) return;
    this.keys[down ? "add" : "delete"](event.code);
    this.changed(this.action, this.held, event);
  }

  slide(dimension, value, dragged, event) {
    this.base[dimension] = value;
    this.dragged = dragged;
    this.changed(this.action, this.held, event);
  }

  letGo() {
    if (!this.held) return;
    this.keys.clear();
    this.dragged = false;
    this.axes = [];
    this.changed(this.action, this.held, null);
  }

  look() {
    const pad = navigator.getGamepads?.().find((each) => each);
    this.polling = Boolean(pad) && !this.stopped;
    if (!pad && this.axes.some((value) => value !== 0)) this.letGo(); // it was pulled out in the middle of something
    if (!this.polling) return;
    const axes = pad.axes.slice(0, this.count).map((value, index) => (Math.abs(value) < DEAD ? 0 : Math.round(50 * (index % 2 ? -value : value)) / 50));
    if (axes.some((value, index) => value !== (this.axes[index] ?? 0))) {
      this.axes = axes;
      this.changed(this.action, this.held, null);
    }
    const buttons = pad.buttons.map((button) => button.pressed);
    const down = buttons.map((now, index) => now && !this.buttons[index]);
    this.buttons = buttons;
    down.forEach((now, index) => now && this.pressed(index));
    requestAnimationFrame(this.poll);
  }
}
