// What the page gives to all components in it: each child inherits this context.
exports.index = (_environment, callback, _context, request) => {
  callback(null, { title: 'The RAIN shop', customer: request.query.customer || 'guest' })
}
