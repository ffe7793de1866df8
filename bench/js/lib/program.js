'use strict'
// The whole program, which JavaScript has once: the original where INTERCOM_JS names its command, else the reference peer.

const { Peer } = require('../../../interop-tests/lib/kinds')

const kindOf = (impl) => impl !== 'rust' && process.env.INTERCOM_JS ? 'original' : impl

/** The original brings its own packages: it is measured once, beside the pinned ones. */
const hasProgram = (impl) => impl !== 'latest' || !process.env.INTERCOM_JS

/** Starts it for `role`, with flags beside the usual ones and a store that is kept between the rounds. */
const startProgram = (impl, role, bootstrap, extra) =>
  Peer.start({ kind: kindOf(impl), role, bootstrap, store: role + '-' + impl, own: true, extra })

module.exports = { hasProgram, startProgram }
