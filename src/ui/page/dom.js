// The few things that every view does with the document. What peers send only ever becomes text: nothing here takes markup.

export const $ = (id) => document.getElementById(id)

/** An element with properties (`class`, `data`, `on`, attributes) and children, of which strings become text. */
export function h (tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children)
}

/** The same for the elements of a picture. */
export function svg (tag, properties = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children)
}

function fill (element, { data = {}, on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? '' : String(value))
  }
  for (const [name, value] of Object.entries(data)) element.dataset[name] = String(value)
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener)
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

/** Text whose direction is its own, so that it cannot turn around what stands beside it. */
export const bdi = (text, properties = {}) => h('bdi', properties, text)

export function setText (element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Shows an error below what it is about, or hides it. */
export function showError (element, text, field = null) {
  setText(element, text || '')
  element.hidden = !text
  if (!field) return
  if (text) field.setAttribute('aria-invalid', 'true')
  else field.removeAttribute('aria-invalid')
}

/** Runs a task while its button cannot be pressed again, and says meanwhile what is done. */
export async function busy (button, text, task) {
  if (button.getAttribute('aria-busy') === 'true') return
  const before = [...button.childNodes]
  button.setAttribute('aria-busy', 'true')
  // Not `disabled`, which would take the focus away.
  button.setAttribute('aria-disabled', 'true')
  if (text) button.replaceChildren(text)
  try {
    return await task()
  } finally {
    button.removeAttribute('aria-busy')
    button.removeAttribute('aria-disabled')
    if (text) button.replaceChildren(...before)
  }
}
