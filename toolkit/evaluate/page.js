'use strict';
const LEFT = 54, RIGHT = 472, TOP = 8, BOTTOM = 128;  // edges of the plots' area
const NEAR = 0.01, FAR = 0.25;  // seconds: closer players count as in step, players further apart jump
const all = (query, within = document) => [...within.querySelectorAll(query)];

class Section {
  constructor(details) {
    this.details = details;
    this.videos = all('video', details);
    this.bar = details.querySelector('input');
    this.label = details.querySelector('.at');
    this.button = details.querySelector('.play');
    this.speed = details.querySelector('select');
    this.start = Number(details.dataset.start);
    this.times = details.dataset.times ? JSON.parse(details.dataset.times)
      : Array.from({length: Number(details.dataset.frames)}, (_, k) => k * details.dataset.step);
    this.plots = all('svg', details).map(svg => new Plot(svg));
    this.frame = 0;
    this.playing = false;
    for (const video of this.videos) {
      video.onloadedmetadata = () => { video.currentTime = this.middle(this.frame); };
      video.onerror = () => { if (video.hasAttribute('src')) video.parentElement.querySelector('.bad').hidden = false; };
    }
    if (this.bar) {
      this.bar.max = this.times.length - 1;
      this.bar.oninput = () => this.seek(Number(this.bar.value));
      details.querySelector('.back').onclick = () => this.seek(this.frame - 1);
      details.querySelector('.forward').onclick = () => this.seek(this.frame + 1);
    }
    if (this.button) this.button.onclick = () => this.toggle();
    for (const plot of this.plots) plot.onseek = time => this.seek(this.at(time));
    details.ontoggle = () => details.open ? this.load() : this.unload();
  }

  // Only the open section holds video files, because browsers allow only some dozens at a time.
  load() {
    for (const other of sections) if (other !== this && other.details.open) other.details.open = false;
    current = this;
    for (const video of this.videos) if (!video.hasAttribute('src')) video.src = video.dataset.src;
    this.mark(this.frame);
  }

  unload() {
    this.pause();
    for (const video of this.videos) { video.removeAttribute('src'); video.load(); }
    if (current === this) current = null;
  }

  get live() { return this.videos.filter(video => video.readyState > 0 && !video.error); }

  // The index of the frame shown at a time.
  at(time) {
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const half = Math.ceil((low + high) / 2);
      if (this.times[half] <= time) low = half; else high = half - 1;
    }
    return low;
  }

  // The middle of a frame, so that rounding never shows its neighbour.
  middle(frame) {
    const here = this.times[frame], last = this.times.length - 1;
    const next = frame < last ? this.times[frame + 1] : last > 0 ? 2 * here - this.times[last - 1] : here;
    return (here + next) / 2;
  }

  seek(frame) {
    this.pause();
    frame = Math.max(0, Math.min(this.times.length - 1, frame));
    for (const video of this.live) video.currentTime = this.middle(frame);
    this.mark(frame);
  }

  mark(frame) {
    this.frame = frame;
    const time = this.times[frame];
    if (this.bar) this.bar.value = frame;
    if (this.label) {
      this.label.textContent = `frame ${frame} of ${this.times.length}, ${(this.start + time).toFixed(3)} s`;
    }
    for (const plot of this.plots) plot.mark(time);
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }

  play() {
    const live = this.live;
    if (!live.length) return;
    if (this.frame === this.times.length - 1) this.seek(0);
    this.playing = true;
    this.button.textContent = 'pause';
    const time = this.middle(this.frame);
    for (const video of live) { video.currentTime = time; video.play().catch(() => {}); }
    const step = () => {
      if (!this.playing) return;
      this.align();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // All players follow the first: small gaps are closed by speed, large ones by a jump.
  align() {
    const [first, ...others] = this.live, speed = Number(this.speed.value);
    if (!first || first.ended) { this.seek(this.times.length - 1); return; }
    first.playbackRate = speed;
    for (const video of others) {
      const ahead = video.currentTime - first.currentTime;
      if (video.ended || video.seeking) continue;
      if (Math.abs(ahead) > FAR) video.currentTime = first.currentTime;
      video.playbackRate = Math.abs(ahead) < NEAR ? speed : speed * Math.min(1.5, Math.max(0.5, 1 - 2 * ahead));
      if (video.paused) video.play().catch(() => {});
    }
    this.mark(this.at(first.currentTime));
  }

  pause() {
    this.playing = false;
    if (this.button) this.button.textContent = 'play';
    for (const video of this.videos) { video.pause(); video.playbackRate = 1; }
  }
}

class Plot {
  constructor(svg) {
    this.svg = svg;
    this.end = Number(svg.dataset.end);
    this.now = svg.querySelector('.now');
    const seek = event => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      this.onseek(Math.max(0, (x - LEFT) / (RIGHT - LEFT) * this.end));
    };
    svg.onpointerdown = seek;
    svg.onpointermove = event => { if (event.buttons) seek(event); };
  }

  mark(time) {
    const x = LEFT + (this.end && (RIGHT - LEFT) * time / this.end);
    this.now.setAttribute('x1', x);
    this.now.setAttribute('x2', x);
    for (const group of all('g', this.svg)) {
      const out = this.svg.parentElement.querySelector(`span[data-method="${group.dataset.method}"] output`);
      out.textContent = this.value(group, x);
    }
  }

  // Read the value from the line, whose corners are the values of single frames.
  value(group, x) {
    for (const line of group.children) {
      line.corners ??= line.getAttribute('points').split(' ').map(pair => pair.split(',').map(Number));
      const corners = line.corners;
      if (x < corners[0][0] - 0.1 || x > corners[corners.length - 1][0] + 0.1) continue;
      const nearest = corners.reduce((one, other) => Math.abs(other[0] - x) < Math.abs(one[0] - x) ? other : one);
      const {low, high, digits} = this.svg.dataset, span = high - low;
      const value = span ? Number(low) + (BOTTOM - nearest[1]) / (BOTTOM - TOP) * span : Number(low);
      return value.toFixed(digits);
    }
    return '';
  }
}

let current = null;
const sections = [];
for (const details of all('details.video')) sections.push(new Section(details));
const section = id => sections.find(one => one.details.id === id);

function show(id, time) {
  const one = section(id);
  if (!one) return;
  one.details.open = true;
  one.load();
  if (time !== undefined) one.seek(one.at(time - one.start + 1e-3));
  one.details.scrollIntoView();
}

// Steps through the worst moments.
const moments = all('#moments button');
const place = document.querySelector('#place');
let moment = -1;
function go(index) {
  const shown = moments.filter(button => !button.closest('[hidden]'));
  if (!shown.length) return;
  moment = (index + shown.length) % shown.length;
  const button = shown[moment];
  place.textContent = `${moment + 1} of ${shown.length}: ${button.title}`;
  show(button.dataset.video, Number(button.dataset.time));
}
for (const button of all('button[data-time]')) {
  const index = moments.indexOf(button);
  button.onclick = () => index < 0 ? show(button.dataset.video, Number(button.dataset.time))
    : go(moments.filter(one => !one.closest('[hidden]')).indexOf(button));
}
document.querySelector('#previous').onclick = () => go(moment < 0 ? -1 : moment - 1);
document.querySelector('#next').onclick = () => go(moment + 1);

for (const link of all('a[href^="#video-"]')) {
  link.onclick = event => { event.preventDefault(); show(link.hash.slice(1)); };
}
if (location.hash.startsWith('#video-')) show(location.hash.slice(1));

for (const box of all('nav input')) box.onchange = () => {
  for (const element of all(`[data-method="${box.value}"]`)) element.toggleAttribute('hidden', !box.checked);
  moment = -1;
  place.textContent = '';
};

// Sorts videos by a measure, worst first; videos without a value come last.
for (const button of all('#videos th button')) button.onclick = () => {
  const body = document.querySelector('#videos tbody'), column = Number(button.dataset.column);
  const sign = button.dataset.better === 'lower' ? -1 : 1;
  const key = row => {
    const text = row.cells[column].dataset.value;
    return text === undefined ? [1, 0] : [0, sign * Number(text.replace('inf', 'Infinity'))];
  };
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort(([a], [b]) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0));
  body.append(...rows.map(([, row]) => row));
};

document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select, button, summary, a')) return;
  const keys = {
    n: () => go(moment + 1), p: () => go(moment < 0 ? -1 : moment - 1),
    ' ': () => current?.toggle(), ArrowLeft: () => current?.seek(current.frame - 1),
    ArrowRight: () => current?.seek(current.frame + 1),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
};
