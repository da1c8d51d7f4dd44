// Choosing an emotion, the overlay's strength, and downloads, all inside the page: the result
// already holds the evidence of every class, so nothing is asked of the server.
(() => {
  const show = (lens, face, label) => {
    const card = lens.querySelector(`.lens-card[data-face="${face}"]`);
    const name = label === "top" ? card.dataset.top : label;
    for (const use of lens.querySelectorAll(`use[data-face="${face}"]`)) {
      use.setAttribute("href", `#heat-${face}-${name}`);
    }
    for (const why of card.querySelectorAll("[data-for]")) why.hidden = why.dataset.for !== name;
    let value = "";
    for (const row of card.querySelectorAll("[data-label]")) {
      const chosen = row.dataset.label === name;
      row.setAttribute("aria-pressed", chosen);
      if (chosen) value = row.dataset.value;
    }
    // The top answer may be more than one word, or "not sure": the page's server worded it.
    const text = lens.querySelector(`.lens-name[data-face="${face}"]`);
    text.textContent = label === "top" ? text.dataset.top : `${name} ${value}`;
  };

  const press = (lens, label) => {
    for (const button of lens.querySelectorAll("[data-pick]")) {
      button.setAttribute("aria-pressed", button.dataset.pick === label);
    }
  };

  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  const saveJson = (lens) => {
    const pretty = JSON.stringify(JSON.parse(lens.dataset.json), null, 2);
    save(new Blob([pretty], { type: "application/json" }), `${lens.dataset.name}.emotion.json`);
  };

  const savePng = (lens) => {
    const svg = lens.querySelector(".lens-picture");
    const source = new XMLSerializer().serializeToString(svg);
    const url = URL.createObjectURL(new Blob([source], { type: "image/svg+xml" }));
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      const scale = Math.min(1, 2560 / Math.max(svg.width.baseVal.value, svg.height.baseVal.value));
      canvas.width = svg.width.baseVal.value * scale;
      canvas.height = svg.height.baseVal.value * scale;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      URL.revokeObjectURL(url);
      canvas.toBlob((blob) => save(blob, `${lens.dataset.name}.emotion.png`));
    };
    image.src = url;
  };

  // What the tests of the maps say comes after the answer. It goes into the cards one by one, so
  // that what was clicked in the meantime stays as it is.
  const fill = (lens, proofs) => {
    lens.dataset.json = proofs.dataset.json;
    for (const proof of proofs.content.children) {
      const card = lens.querySelector(`.lens-card[data-face="${proof.dataset.face}"]`);
      card.querySelector(`[data-for="${card.dataset.top}"]`).replaceChildren(...proof.childNodes);
    }
    for (const waits of lens.querySelectorAll("[data-waits] p")) {
      waits.textContent = proofs.dataset.words;
    }
  };

  window.emotionLensProofs = (html, tries = 100) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    const proofs = template.content.firstElementChild;
    if (!proofs) return;
    const lens = document.querySelector(`.lens[data-key="${proofs.dataset.key}"]`);
    if (lens) fill(lens, proofs);
    // The result may still be on its way into the page; if another has come instead, let it be.
    else if (tries) setTimeout(() => window.emotionLensProofs(html, tries - 1), 20);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".lens button");
    if (!button) return;
    const lens = button.closest(".lens");
    if (button.dataset.pick) {
      press(lens, button.dataset.pick);
      for (const card of lens.querySelectorAll(".lens-card")) {
        show(lens, card.dataset.face, button.dataset.pick);
      }
    } else if (button.dataset.label) {
      press(lens, null);
      show(lens, button.closest(".lens-card").dataset.face, button.dataset.label);
    } else if (button.dataset.explore) {
      const photo = document.querySelector("#photo img");
      if (photo) window.emotionExploreOpen(photo.src, `${lens.dataset.name}.jpg`, Number(button.dataset.explore));
    } else if (button.dataset.download === "json") saveJson(lens);
    else if (button.dataset.download === "png") savePng(lens);
  });

  document.addEventListener("input", (event) => {
    if (!event.target.matches(".lens [data-strength]")) return;
    for (const use of event.target.closest(".lens").querySelectorAll(".lens-heat")) {
      use.setAttribute("opacity", event.target.value / 100);
    }
  });
})();
