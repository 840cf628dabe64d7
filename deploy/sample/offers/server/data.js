exports.index = (environment, callback, _context, request) => {
  if (request.query.fail) return callback(new Error('the offers were told to fail'))
  callback(null, { instance: environment.instance, mothership: environment.mothership })
}
