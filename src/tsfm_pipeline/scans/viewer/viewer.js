// The page of one scan: its volumes and numbers stand in the page itself, so it needs no server.
"use strict";

const scan = JSON.parse(document.getElementById("scan").textContent);
const OPACITY = { labels: 0.5, reference: 1 }; // filled, and outlines
const overlays = Object.keys(OPACITY).filter((id) => document.getElementById(id));
const every = scan.targets.map((target) => target.label);
const shown = Object.fromEntries(overlays.map((id) => [id, new Set(every)]));
const view = new niivue.Niivue({
  backColor: [0, 0, 0, 1],
  crosshairColor: [1, 1, 0.4, 0.6],
  crosshairWidth: 1.5,
  crosshairWidthUnit: "mm",
  clipPlaneColor: [0, 0, 0, 0],
  multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
  isRadiologicalConvention: true, // the patient's right is on the left
  sagittalNoseLeft: true,
  show3Dcrosshair: false,
  dragAndDropEnabled: false,
  logLevel: "error",
  clipPlaneHotKey: "", // the keys are those of this page
  viewModeHotKey: "",
});

async function load(id, options) {
  const text = document.getElementById(id).textContent.trim();
  const answer = await fetch(`data:application/gzip;base64,${text}`);
  const unpacked = answer.body.pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(unpacked).arrayBuffer();
  return niivue.NVImage.loadFromUrl({ url: `${id}.nii`, name: `${id}.nii`, buffer, ...options });
}

function colours(overlay) {
  // A label map's colours by integer; what is switched off is transparent.
  const labels = [0, ...scan.targets.map((target) => target.label)];
  const rgb = [[0, 0, 0], ...scan.targets.map((target) => target.colour)];
  return {
    R: rgb.map((colour) => colour[0]),
    G: rgb.map((colour) => colour[1]),
    B: rgb.map((colour) => colour[2]),
    A: labels.map((label) => (shown[overlay].has(label) ? 255 : 0)),
    I: labels,
    labels: ["", ...scan.targets.map((target) => target.name)],
  };
}

function paint() {
  overlays.forEach((id, i) => view.volumes[i + 1].setColormapLabel(colours(id)));
  view.updateGLVolume();
  tick();
}

function tick() {
  for (const box of document.querySelectorAll("input[data-label]")) {
    box.checked = shown[box.dataset.overlay].has(Number(box.dataset.label));
  }
  for (const button of document.querySelectorAll("button[data-all]")) {
    button.setAttribute("aria-pressed", String(shown[button.dataset.all].size > 0));
  }
  for (const id of overlays) {
    const names = scan.targets.filter((target) => shown[id].has(target.label));
    document.body.dataset[`${id}Shown`] = names.map((target) => target.name).join(" ");
  }
}

function show(labels, on, where = overlays) {
  for (const id of where) {
    for (const label of labels) on ? shown[id].add(label) : shown[id].delete(label);
  }
  paint();
}

function toggleAll(overlay) {
  if (overlays.includes(overlay)) show(every, shown[overlay].size === 0, [overlay]);
}

function goTo(target) {
  if (!target.centre) return;
  view.scene.crosshairPos = view.mm2frac(target.centre);
  view.drawScene();
}

function window_(low, high) {
  view.volumes[0].cal_min = low;
  view.volumes[0].cal_max = high;
  view.updateGLVolume();
}

const LAYOUTS = {
  all: () => {
    view.opts.multiplanarShowRender = niivue.SHOW_RENDER.ALWAYS;
    view.setSliceType(view.sliceTypeMultiplanar);
  },
  axial: () => view.setSliceType(view.sliceTypeAxial),
  coronal: () => view.setSliceType(view.sliceTypeCoronal),
  sagittal: () => view.setSliceType(view.sliceTypeSagittal),
  "3-D": () => view.setSliceType(view.sliceTypeRender),
};

function layout(name) {
  LAYOUTS[name]();
  for (const button of document.querySelectorAll("button[data-layout]")) {
    button.setAttribute("aria-pressed", String(button.dataset.layout === name));
  }
}

function body(on) {
  // In 3-D the skin hides what lies in it.
  bodyShown = on;
  view.setClipPlane(on ? [2, 0, 0] : [0.02, 270, 0]);
  document.getElementById("body").setAttribute("aria-pressed", String(!on));
}

let bodyShown = true;

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const number = Number(event.key);
  const actions = {
    a: () => show(every, true),
    n: () => show(every, false),
    p: () => toggleAll("labels"),
    r: () => toggleAll("reference"),
    c: () => body(!bodyShown),
    w: () => nextWindow(),
    v: () => nextLayout(),
    PageUp: () => view.moveCrosshairInVox(0, 0, 1),
    PageDown: () => view.moveCrosshairInVox(0, 0, -1),
  };
  const target = number >= 1 ? scan.targets[number - 1] : undefined;
  if (target) show([target.label], !overlays.some((id) => shown[id].has(target.label)));
  else if (event.key in actions) actions[event.key]();
  else return;
  event.preventDefault();
}

function nextLayout() {
  const names = Object.keys(LAYOUTS);
  const pressed = document.querySelector('button[data-layout][aria-pressed="true"]');
  layout(names[(names.indexOf(pressed.dataset.layout) + 1) % names.length]);
}

function nextWindow() {
  const choice = document.getElementById("window");
  choice.selectedIndex = (choice.selectedIndex + 1) % choice.options.length;
  choice.dispatchEvent(new Event("change"));
}

function listen() {
  for (const box of document.querySelectorAll("input[data-label]")) {
    box.addEventListener("change", () =>
      show([Number(box.dataset.label)], box.checked, [box.dataset.overlay]),
    );
  }
  for (const button of document.querySelectorAll("button[data-all]")) {
    button.addEventListener("click", () => toggleAll(button.dataset.all));
  }
  for (const link of document.querySelectorAll("button[data-centre]")) {
    link.addEventListener("click", () => goTo(scan.targets[Number(link.dataset.centre)]));
  }
  for (const button of document.querySelectorAll("button[data-layout]")) {
    button.addEventListener("click", () => layout(button.dataset.layout));
  }
  document.getElementById("every").addEventListener("click", () => show(every, true));
  document.getElementById("none").addEventListener("click", () => show(every, false));
  document.getElementById("body").addEventListener("click", () => body(!bodyShown));
  const choice = document.getElementById("window");
  choice.addEventListener("change", () => window_(...choice.value.split(" ").map(Number)));
  document.addEventListener("keydown", key);
}

async function open() {
  await view.attachTo("canvas");
  layout("all"); // before there is a volume: then it is drawn once
  body(false);
  const [low, high] = scan.window;
  const [image, ...maps] = await Promise.all([
    load("image", { colormap: "gray", cal_min: low, cal_max: high, trustCalMinMax: true }),
    ...overlays.map((id) => load(id, { opacity: OPACITY[id] })),
  ]);
  overlays.forEach((id, i) => maps[i].setColormapLabel(colours(id)));
  view.volumes = [image, ...maps];
  view.setVolume(image, 0);
  tick();
  const first = scan.targets.find((target) => target.centre);
  if (first) goTo(first);
  listen();
  document.getElementById("state").textContent = "";
  document.body.dataset.state = "ready";
  document.body.dataset.seconds = (performance.now() / 1000).toFixed(2);
}

open().catch((error) => {
  document.body.dataset.state = "failed";
  document.getElementById("state").textContent =
    `This browser can't show the scan (${error.message}); it needs WebGL 2. The numbers stand beside.`;
});
