const usualMs = 150
const mostMs = 30000

exports.index = (environment, callback, _context, request) => {
  const asked = Number(request.query.slow)
  const waitMs = Number.isFinite(asked) && asked >= 0 && request.query.slow ? Math.min(asked, mostMs) : usualMs
  const startMs = Date.now()
  setTimeout(() => {
    callback(null, {
      tookMs: Date.now() - startMs,
      instance: environment.instance,
      mothership: environment.mothership,
    })
  }, waitMs)
}
