// Who pays whom, as ribbons from those who owe to those who are owed, as wide as what flows.

import { svg } from './dom.js'
import { amount, cut } from './format.js'

/** Ribbons drawn; the list below the picture has all. */
const MAX_FLOWS = 24
const MIN_WIDTH = 240
/** Room for a name and an amount below it. */
const SLOT = 40
const GAP = 8
const BAR = 6
const TOP = 22
/** What a letter of a name takes at most, roughly. */
const LETTER = 9

let nextId = 1

/** The picture, `width` pixels wide, or `null` where nothing is owed or no room is there. */
export function draw (settlements, width) {
  const flows = settlements.filter(({ amountCents }) => amountCents > 0).slice(0, MAX_FLOWS)
  if (flows.length === 0 || width < MIN_WIDTH) return null

  // Names at the sides have the room that the longest one needs, up to a third of the width.
  const longest = Math.max(6, ...flows.flatMap(({ from, to }) => [[...from].length, [...to].length]))
  const gutter = Math.min(longest * LETTER + 16, width * 0.33)
  const letters = Math.floor((gutter - 8) / LETTER)
  const total = flows.reduce((sum, { amountCents }) => sum + amountCents, 0)
  const [left, right] = [side(flows, 'from'), side(flows, 'to')]
  const most = Math.max(left.size, right.size)
  // What is owed in all is as high as the taller column needs at least, so that the picture grows with the number of names.
  const scale = Math.max(64, most * SLOT * 0.8) / total
  const height = Math.max(...[left, right].map((nodes) => place(nodes, scale)))
  for (const nodes of [left, right]) centre(nodes, height)

  const id = 'flow-' + nextId++
  const [x0, x1] = [gutter + BAR, width - gutter - BAR]
  const ribbons = flows.map(({ from, to, amountCents }) => {
    const thickness = Math.max(1.5, amountCents * scale)
    const [start, end] = [attach(left.get(from), amountCents * scale), attach(right.get(to), amountCents * scale)]
    const middle = (x0 + x1) / 2
    const path = `M${x0} ${start}C${middle} ${start} ${middle} ${end} ${x1} ${end}v${thickness}C${middle} ${end + thickness} ${middle} ${start + thickness} ${x0} ${start + thickness}z`
    return svg('path', { d: path, class: 'ribbon', fill: `url(#${id}-g)` }, svg('title', {}, `${cut(from, 40)} pays ${cut(to, 40)} ${amount(amountCents)}`))
  })
  const label = (node, name, x, anchor) => {
    const middle = node.top + node.height / 2
    return [
      svg('rect', { x: anchor === 'end' ? x : x - BAR, y: middle - node.bar / 2, width: BAR, height: node.bar, rx: BAR / 2, class: anchor === 'end' ? 'debit' : 'credit' }),
      svg('text', { x: anchor === 'end' ? x - 8 : x + 8, y: middle - 2, 'text-anchor': anchor, class: 'name' }, cut(name, letters)),
      svg('text', { x: anchor === 'end' ? x - 8 : x + 8, y: middle + 14, 'text-anchor': anchor, class: 'sum' }, amount(node.cents))
    ]
  }
  const gradient = svg('linearGradient', { id: id + '-g', gradientUnits: 'userSpaceOnUse', x1: x0, x2: x1 },
    svg('stop', { offset: '0', class: 'from' }), svg('stop', { offset: '1', class: 'to' }))
  const described = flows.map(({ from, to, amountCents }) => `${cut(from, 40)} pays ${cut(to, 40)} ${amount(amountCents)}`).join('; ')
  return svg('svg', { viewBox: `0 0 ${width} ${height + TOP}`, width, height: height + TOP, role: 'img', 'aria-labelledby': `${id}-t ${id}-d`, class: 'flows' },
    svg('title', { id: id + '-t' }, 'Who pays whom'),
    svg('desc', { id: id + '-d' }, described),
    svg('defs', {}, gradient),
    svg('text', { x: gutter - 8, y: 12, 'text-anchor': 'end', class: 'head' }, 'pays'),
    svg('text', { x: width - gutter + 8, y: 12, class: 'head' }, 'is paid'),
    svg('g', { transform: `translate(0 ${TOP})` },
      ribbons,
      [...left].flatMap(([name, node]) => label(node, name, gutter, 'end')),
      [...right].flatMap(([name, node]) => label(node, name, width - gutter, 'start'))))
}

/** The names of one side, each with what flows through it. */
function side (flows, key) {
  const nodes = new Map()
  for (const flow of flows) {
    const node = nodes.get(flow[key]) ?? { cents: 0 }
    node.cents += flow.amountCents
    nodes.set(flow[key], node)
  }
  return nodes
}

/** Puts one below the other, and gives their height. */
function place (nodes, scale) {
  let top = 0
  for (const node of nodes.values()) {
    node.bar = Math.max(3, node.cents * scale)
    node.height = Math.max(SLOT, node.bar)
    node.top = top
    top += node.height + GAP
  }
  return top - GAP
}

function centre (nodes, height) {
  const last = [...nodes.values()].at(-1)
  const shift = (height - (last.top + last.height)) / 2
  for (const node of nodes.values()) {
    node.top += shift
    node.next = node.top + (node.height - node.bar) / 2
  }
}

/** The next free place on a node's bar. */
function attach (node, thickness) {
  const at = node.next
  node.next += thickness
  return at
}
