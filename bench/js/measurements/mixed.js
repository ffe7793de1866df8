'use strict'
const { transfer } = require('../lib/transfer')

const [TO, FROM] = ['secret-stream, 256 MB, to pinned JavaScript', 'secret-stream, 256 MB, from pinned JavaScript']

module.exports = {
  name: 'mixed',
  metrics: { [TO]: { unit: 'MB/s', more: true }, [FROM]: { unit: 'MB/s', more: true } },
  rounds: 3,
  async run (impl) {
    return { [TO]: (await transfer(impl, 'pinned')).speed, [FROM]: (await transfer('pinned', impl)).speed }
  }
}
