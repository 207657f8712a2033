"use strict";

const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
const message = document.getElementById("status");
const shapes = document.getElementById("shapes");
const BETWEEN = 250; // milliseconds between two searches while a stroke is drawn

let strokes = []; // each a list of points
let drawing = false;
let searching = false;
let changed = false; // since the last search

function redraw() {
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = pen.fillStyle = "#000";
  pen.lineWidth = 24; // as thick as the strokes of the pictograms that the network was trained on
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of strokes) {
    pen.beginPath(); // a line without length is not drawn, so each stroke begins with a dot
    pen.arc(...stroke[0], pen.lineWidth / 2, 0, 2 * Math.PI);
    pen.fill();
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke) pen.lineTo(...point);
    pen.stroke();
  }
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}

function show(found) {
  shapes.replaceChildren(...found.map((shape) => {
    const item = document.createElement("li");
    const figure = item.appendChild(document.createElement("figure"));
    const image = figure.appendChild(document.createElement("img"));
    image.src = shape.image;
    image.alt = shape.name;
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.append(shape.class.replaceAll("_", " ") + " ");
    const distance = caption.appendChild(document.createElement("span"));
    distance.textContent = shape.distance.toFixed(3);
    caption.title = shape.name;
    return item;
  }));
}

// One search at a time; what was drawn meanwhile is searched for next.
async function search() {
  if (searching || !changed) return;
  changed = false;
  if (!strokes.length) {
    show([]);
    message.textContent = "Draw a chair, a lamp, a car: the nearest shapes appear as you draw.";
    return;
  }
  searching = true;
  try {
    const body = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    const answer = await fetch("search", { method: "POST", body, headers: { "Content-Type": "image/png" } });
    const content = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
    if (!strokes.length) {
      // cleared meanwhile
    } else if (content.error) {
      message.textContent = content.error;
    } else {
      show(content.shapes);
      message.textContent = `The ${content.shapes.length} nearest shapes, nearest first, with their distances.`;
    }
  } catch {
    message.textContent = "The server does not answer: is it still running?";
  }
  searching = false;
  setTimeout(search, drawing ? BETWEEN : 0);
}

function change() {
  changed = true;
  redraw();
  search();
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  drawing = true;
  strokes.push([place(event)]);
  change();
});
canvas.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  strokes.at(-1).push(place(event));
  change();
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, () => {
    drawing = false;
    search();
  });
}
document.getElementById("undo").addEventListener("click", () => {
  strokes.pop();
  change();
});
document.getElementById("clear").addEventListener("click", () => {
  strokes = [];
  change();
});
redraw();
