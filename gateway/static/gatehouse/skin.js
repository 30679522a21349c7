// What the skin leaves out for those who do not see it: names for its search boxes, silence for its icons.
"use strict";

const labelOf = (id) => document.querySelector(`label[for="${CSS.escape(id)}"]`)?.innerText.replace("*", "").trim() ?? "";

const nameBoxes = () => {
    for (const box of document.querySelectorAll("select + .select2-container")) {
        const label = labelOf(box.previousElementSibling.id);
        for (const part of box.querySelectorAll(".select2-selection, [role=textbox], .select2-search__field")) {
            if (!part.classList.contains("select2-selection--single")) part.ariaLabel = label;
        }
        const single = box.querySelector(".select2-selection--single");
        if (single) {
            single.removeAttribute("aria-labelledby");
            single.ariaLabel = `${label} ${single.innerText}`.trim();
        }
    }
};

// An icon is a word in a font; beside a text it would be read out with it.
const silenceIcons = () => {
    for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
        const around = icon.closest("a, button, label") ?? icon.parentElement;
        if (around.textContent.trim() !== icon.textContent.trim()) icon.ariaHidden = "true";
    }
};

// The button that clears a whole list at one touch also breaks the list for a screen reader.
document.addEventListener("DOMContentLoaded", () => {
    for (const select of document.querySelectorAll("select[multiple][data-allow-clear]")) select.dataset.allowClear = "false";
});

// jQuery makes the boxes in a task of its own after DOMContentLoaded.
addEventListener("load", () => setTimeout(() => { nameBoxes(); silenceIcons(); }));
document.addEventListener("change", nameBoxes);
document.addEventListener("formset:added", () => requestAnimationFrame(nameBoxes));
document.addEventListener("focusin", ({ target }) => {
    const list = target.matches(".select2-search__field") && target.getAttribute("aria-controls");
    if (list) target.ariaLabel = labelOf(list.replace(/^select2-|-results$/g, ""));
});
