'use strict'
// What `scripts/interop` was asked for.

const number = (name, fallback) => Number(process.env[name] || fallback)

module.exports = {
  /** How often each cell of the matrix runs. */
  repeat: number('INTEROP_REPEAT', 20),
  /** How often where a peer takes seconds to start (the original application) or only JavaScript meets JavaScript. */
  repeatSlow: number('INTEROP_REPEAT_SLOW', 3),
  /** Only cells whose name contains every word of this. */
  only: (process.env.INTEROP_ONLY || '').split(/\s+/).filter(Boolean)
}

/** Whether the cell of this name was asked for. */
module.exports.wanted = (name) => module.exports.only.every((word) => name.includes(word))
