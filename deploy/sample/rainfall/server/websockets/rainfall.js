const everyMs = 500
let sum = 0

// The same rain for all who watch in this process.
exports.channel = 'rainfall'
exports.handle = socket => {
  const tell = () => {
    const now = 1 + Math.floor(Math.random() * 10)
    sum += now
    socket.emit('drops', { sum, now })
  }
  const timer = setInterval(tell, everyMs)
  socket.on('disconnect', () => clearInterval(timer))
  tell()
}
