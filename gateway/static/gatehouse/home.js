// The home page stays current: parts that changed replace themselves, unless somebody is in the middle of one.
"use strict";

const replacePart = (name, html) => {
    const part = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (!part) return;
    if (part.contains(document.activeElement) || part.matches(":hover") || !getSelection().isCollapsed) {
        part.waiting = html;
        return;
    }
    part.waiting = undefined;
    const wasOpen = [...part.querySelectorAll("details")].map((details) => details.open);
    const template = document.createElement("template");
    template.innerHTML = html;
    [...template.content.querySelectorAll("details")].forEach((details, at) => { details.open = wasOpen[at] ?? false; });
    part.replaceChildren(template.content);
};

for (const leaving of ["mouseleave", "focusout"]) {
    document.addEventListener(leaving, (event) => {
        const part = event.target.closest?.("[data-part]");
        if (part?.waiting) setTimeout(() => { if (part.waiting) replacePart(part.dataset.part, part.waiting); }, 200);
    }, true);
}

const showParts = (parts) => {
    for (const [name, html] of Object.entries(parts)) replacePart(name, html);
};

// A page nobody looks at asks for nothing.
let stop;
const follow = () => {
    stop?.();
    stop = document.hidden ? undefined : gatehouse.live("/ws/home/", showParts);
};
document.addEventListener("visibilitychange", follow);
document.addEventListener("DOMContentLoaded", follow);
