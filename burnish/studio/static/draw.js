// Pictures of states: named bodies from above and from the side, everything else as bars; and pictures as they come.

const COLOURS = ["--blue", "--orange", "--purple", "--green", "--grey"];
const VIEWS = [["from above", 0, 1], ["from the side", 1, 2]];

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Which dimensions are positions of bodies, and which are none: {bodies: [{name, axes}], rest: [index]}. */
export function bodiesOf(names, bounds) {
  const place = new Map(names.map((name, index) => [name, index]));
  const bodies = [];
  const used = new Set();
  for (const name of names) {
    if (!name.endsWith("_x")) continue;
    const body = name.slice(0, -2);
    const axes = ["x", "y", "z"].map((axis) => place.get(`${body}_${axis}`));
    if (axes.some((axis) => axis === undefined)) continue;
    axes.forEach((axis) => used.add(axis));
    // A body that stays at the origin is one that the task does not have.
    if (bounds.length && axes.every((axis) => bounds[0][axis] === 0 && bounds[1][axis] === 0)) continue;
    bodies.push({ name: body, axes });
  }
  const count = names.length || (bounds[0]?.length ?? 0);
  const rest = [...Array(count).keys()].filter((index) => !used.has(index) && !(bounds.length && bounds[0][index] === bounds[1][index]));
  return { bodies, rest };
}

/** A canvas whose pixels are the screen's. */
export function sized(canvas, width, height) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * Bodies in both views. `state` is drawn full, `trail` (states) as lines, `ghost` (another state, or null) as rings.
 */
export function drawBodies(canvas, shape, bounds, state, trail = [], ghost = null, labels = true) {
  const width = canvas.clientWidth || 240;
  const views = labels ? VIEWS : VIEWS.slice(0, 1);
  // Beside each other where there is room, else above each other.
  const beside = labels && width > 360;
  const wide = beside ? width / 2 : width;
  const each = labels ? Math.min(beside ? wide : wide * 0.8, 400) : wide;
  const tall = beside ? each : each * views.length;
  canvas.style.height = `${tall}px`;
  const context = sized(canvas, width, tall);
  const { low, high } = reach(shape, bounds, state);
  const span = Math.max(...[0, 1, 2].map((axis) => high[axis] - low[axis]), 1e-3) * 1.12;
  views.forEach(([title, across, up], row) => {
    const [left, top] = beside ? [row * wide, 0] : [0, row * each];
    const scale = Math.min(wide, each) / span;
    const place = (from, body) => [
      left + wide / 2 + (from[body.axes[across]] - (low[across] + high[across]) / 2) * scale,
      top + each / 2 - (from[body.axes[up]] - (low[up] + high[up]) / 2) * scale,
    ];
    if (labels) {
      context.strokeStyle = colour("--grid");
      context.strokeRect(left + 0.5, top + 0.5, wide - 1, each - 1);
      context.fillStyle = colour("--muted");
      context.font = "12px system-ui, sans-serif";
      context.fillText(title, left + 7, top + 16);
    }
    context.save();
    context.beginPath();
    context.rect(left, top, wide, each);
    context.clip();
    shape.bodies.forEach((body, index) => {
      context.strokeStyle = context.fillStyle = colour(COLOURS[index % COLOURS.length]);
      context.lineWidth = 1.2;
      if (trail.length > 1) {
        context.globalAlpha = 0.55;
        context.beginPath();
        trail.forEach((from, step) => context[step ? "lineTo" : "moveTo"](...place(from, body)));
        context.stroke();
        context.globalAlpha = 1;
      }
      const radius = labels ? (body.name === "goal" ? 4 : 6) : 3;
      const [x, y] = place(state, body);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
      if (ghost) {
        const [gx, gy] = place(ghost, body);
        context.lineWidth = 2;
        context.beginPath();
        context.arc(gx, gy, radius + 3, 0, 2 * Math.PI);
        context.moveTo(gx, gy);
        context.lineTo(x, y);
        context.stroke();
      }
    });
    context.restore();
    if (labels && row === 0) {
      let from = left + 7;
      shape.bodies.forEach((body, index) => {
        context.fillStyle = colour(COLOURS[index % COLOURS.length]);
        context.fillText(body.name, from, top + each - 7);
        from += context.measureText(body.name).width + 10;
      });
    }
  });
}

function reach(shape, bounds, state) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (const body of shape.bodies) {
    body.axes.forEach((axis, index) => {
      low[index] = Math.min(low[index], bounds.length ? bounds[0][axis] : state[axis] - 0.5);
      high[index] = Math.max(high[index], bounds.length ? bounds[1][axis] : state[axis] + 0.5);
    });
  }
  return { low, high };
}

/** Dimensions that are no positions, as bars in their recorded range; `ghost` is a mark beside. */
export function drawBars(canvas, shape, names, bounds, state, ghost = null) {
  const rows = shape.rest.slice(0, 24);
  const width = canvas.clientWidth || 240;
  const line = 17;
  canvas.style.height = `${Math.max(1, rows.length * line)}px`;
  const context = sized(canvas, width, Math.max(1, rows.length * line));
  context.font = "11px system-ui, sans-serif";
  rows.forEach((index, row) => {
    const [low, high] = bounds.length ? [bounds[0][index], bounds[1][index]] : [-1, 1];
    const share = (value) => Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
    const left = Math.min(130, width / 2);
    const room = width - left - 4;
    context.fillStyle = colour("--muted");
    context.fillText(names[index] ?? String(index), 2, row * line + 12, left - 6);
    context.fillStyle = colour("--grid");
    context.fillRect(left, row * line + 4, room, 9);
    context.fillStyle = colour("--blue");
    context.fillRect(left, row * line + 4, room * share(state[index]), 9);
    if (ghost) {
      context.fillStyle = colour("--orange");
      context.fillRect(left + room * share(ghost[index]) - 1.5, row * line + 1, 3, 15);
    }
  });
}

/** One picture of a packed answer into a canvas of its size. */
export async function drawPicture(canvas, picture) {
  if (canvas.width !== picture.w || canvas.height !== picture.h) {
    canvas.width = picture.w;
    canvas.height = picture.h;
  }
  const context = canvas.getContext("2d");
  if (picture.raw) {
    const image = context.createImageData(picture.w, picture.h);
    const { content } = picture;
    for (let from = 0, to = 0; from < content.length; from += 3, to += 4) {
      image.data[to] = content[from];
      image.data[to + 1] = content[from + 1];
      image.data[to + 2] = content[from + 2];
      image.data[to + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  } else {
    const bitmap = await createImageBitmap(new Blob([picture.content], { type: "image/jpeg" }));
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
  }
}
