exports.post = (request, response) => {
  request.session.remove('items')
  response.writeHead(303, { Location: '/shop/index' })
  response.end()
}
