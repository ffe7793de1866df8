'use strict'

/** The channel that the Protomux measurement speaks on: messages of `kind` (raw or json), and their number. */
module.exports = ({ Protomux, encoding }, connection, kind, { onmessage, oncount, ondrain }) => {
  const mux = Protomux.from(connection)
  const channel = mux.createChannel({
    protocol: 'bench',
    messages: [{ encoding: kind === 'json' ? encoding.json : encoding.raw, onmessage }, { encoding: encoding.uint, onmessage: oncount }],
    ondrain
  })
  channel.open()
  return { mux, channel }
}
