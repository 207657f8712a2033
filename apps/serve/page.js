"use strict";

const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
const pen = canvas.getContext("2d");
const message = $("status");
const BETWEEN = 250; // milliseconds between two searches while a stroke is drawn
const MESH = /\.(off|obj|stl|ply|glb|gltf)$/i;

let about = { takes: [], hint: "" };
let strokes = []; // each a list of points
let drawing = false;
let searching = false;
let changed = false; // since the last search
let wanted = null; // what is searched for: {address, body}, without the options

// --- the page -----------------------------------------------------------------------------------------------------

function say(text) {
  message.textContent = text;
}

function part(kind, text, style) {
  const element = document.createElement(kind);
  element.textContent = text;
  if (style) element.className = style;
  return element;
}

function show(results) {
  $("results").replaceChildren(...results.map((one) => {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    button.title = one.name;
    button.dataset.row = one.row;
    if (one.image) {
      const image = button.appendChild(document.createElement("img"));
      image.src = one.image;
      image.alt = one.name;
      image.loading = "lazy";
    } else {
      button.append(part("strong", one.name));
    }
    button.append(part("span", one.class.replaceAll("_", " ")), part("span", one.distance.toFixed(3), "soft"));
    if (one.detail) button.append(part("span", one.detail, "soft"));
    button.addEventListener("click", () => ask({ address: `api/search?row=${one.row}` }));
    return item;
  }));
}

function showQuery(query) {
  $("query").hidden = !query || !query.image;
  if (!query) return;
  $("query").querySelector("img").src = query.image || "data:,";
  $("query").querySelector("figcaption").textContent = query.name || "";
}

// --- searching: one at a time; what was asked meanwhile is searched for next ---------------------------------------------

function ask(query) {
  wanted = query;
  changed = true;
  search();
}

async function search() {
  if (searching || !changed) return;
  changed = false;
  if (!wanted) {
    show([]);
    showQuery(null);
    say(about.hint);
    return;
  }
  searching = true;
  const asked = wanted;
  try {
    const body = asked.body ? await asked.body() : undefined;
    if (body && !asked.quiet) say("Searching …");
    const only = $("class").value ? `&class=${encodeURIComponent($("class").value)}` : "";
    const answer = await fetch(asked.address + only, body ? { method: "POST", body } : {});
    const content = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
    if (asked !== wanted) {
      // something else is wanted by now, or nothing
    } else if (content.error) {
      say(content.error);
    } else {
      show(content.results);
      showQuery(asked.quiet ? null : content.query);
      const of = content.query.name ? ` to ${content.query.name}` : "";
      say(`The ${content.results.length} nearest${of}, nearest first, with their distances. Choose one to search on.`);
    }
  } catch {
    say("The server does not answer: is it still running?");
  }
  searching = false;
  setTimeout(search, drawing ? BETWEEN : 0);
}

// --- files ----------------------------------------------------------------------------------------------------------

function take(file) {
  if (!file) return;
  const kind = MESH.test(file.name) ? "mesh" : about.takes.includes("image") ? "image" : "drawing";
  if (!about.takes.includes(kind)) {
    say(`This page takes no ${kind === "mesh" ? "meshes" : "images"}: ${about.hint}`);
    return;
  }
  forget();
  ask({ address: `api/search?kind=${kind}&file=${encodeURIComponent(file.name)}`, body: async () => file });
}

$("file").addEventListener("change", () => {
  take($("file").files[0]);
  $("file").value = "";
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // a file that misses would be opened instead of the page
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
});

// --- names ----------------------------------------------------------------------------------------------------------

$("named").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  forget();
  ask({ address: `api/search?name=${encodeURIComponent(name)}` });
});
let suggesting = 0;
$("name").addEventListener("input", () => {
  clearTimeout(suggesting);
  suggesting = setTimeout(async () => {
    try {
      const answer = await fetch(`api/names?part=${encodeURIComponent($("name").value.trim())}`);
      const { names } = await answer.json();
      $("names").replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), { value: name })));
    } catch {
      // a search will say that the server does not answer
    }
  }, BETWEEN);
});
$("class").addEventListener("change", () => {
  changed = Boolean(wanted);
  search();
});

// --- the drawing ------------------------------------------------------------------------------------------------------

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

function forget() {
  strokes = [];
  redraw();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}

const canvasAsPng = () => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
const drawn = { address: "api/search?kind=drawing", body: canvasAsPng, quiet: true };

function change() {
  redraw();
  ask(strokes.length ? drawn : null);
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
$("undo").addEventListener("click", () => {
  strokes.pop();
  change();
});
$("clear").addEventListener("click", () => {
  forget();
  change();
});

// --- what this page offers --------------------------------------------------------------------------------------------

async function begin() {
  try {
    about = await (await fetch("api/about")).json();
  } catch {
    say("The server does not answer: is it still running?");
    return;
  }
  document.title = $("title").textContent = about.title;
  say(about.hint);
  $("pad").hidden = !about.takes.includes("drawing");
  const files = about.takes.map((kind) => ({ drawing: "a drawing", image: "an image", mesh: "a mesh (GLB, OBJ, STL, PLY, OFF)" })[kind]);
  $("drop").hidden = !files.length;
  $("what").textContent = files.join(" or ");
  $("class").append(...about.classes.map((name) => {
    const option = part("option", name.replaceAll("_", " "));
    option.value = name;
    return option;
  }));
}
redraw();
begin();
