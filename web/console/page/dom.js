// Elements, made without markup from strings: the page's policy allows none.

const make = (node, props, children) => {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(c => c !== undefined && c !== null && c !== false));
  return node;
};

export const el = (tag, props, ...children) => make(document.createElement(tag), props, children);

export const svg = (tag, props, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

// text changes what an element says, where it says something else.
export const text = (node, said) => { if (node.textContent !== said) node.textContent = said; };

// flag sets or takes away a state of an element that styles look at.
export const flag = (node, name, value) => {
  if (value === false || value === undefined || value === null) node.removeAttribute("data-" + name);
  else node.setAttribute("data-" + name, value === true ? "" : value);
};

// say has a screen reader read something out.
export const say = said => { document.getElementById("say").textContent = said; };
