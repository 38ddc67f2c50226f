# The integration example through the client that openapi-generator makes for Ruby, with sums that 32 bits would round.
require 'bigdecimal'
require 'uri'
require 'openapi_client'

include OpenapiClient

STEPS = {
  '1234567.89' => '1234567.89',
  '0.07' => '1234567.96',
  '3000000000' => '3001234567.96',
  '12345678901234.56' => '12348680135802.52'
}.map { |step| step.map { |sum| BigDecimal(sum) } }

def expect(value, wanted)
  raise "expected #{wanted.inspect}, got #{value.inspect}" unless value == wanted
end

def decimal(float)
  BigDecimal(float.to_s)
end

def failure
  yield
rescue ApiError => error
  error
else
  raise 'the call succeeded'
end

address = URI(ENV.fetch('API'))
OpenapiClient.configure do |config|
  config.scheme = address.scheme
  config.host = "#{address.host}:#{address.port}"
  config.server_index = nil
end
email = ENV.fetch('EMAIL')
login = AuthenticationApi.new.login(LoginRequest.new(email: 'admin@company.com', password: 'secure_password'))
OpenapiClient.configure { |config| config.access_token = login.token }

customers = CustomersApi.new
cards = VirtualCardsApi.new
person = CreateCustomerRequest.new(name: 'Juan Perez', email: email)
customer = customers.create_customer(person, idempotency_key: "#{email}-customer")
card = cards.create_card(CreateCardRequest.new(currency: Currency::USD)).card_id
cards.assign_card(AssignCardRequest.new(card_id: card, customer_id: customer.customer_id))
cards.change_card_status(ChangeCardStatusRequest.new(card_id: card, status: 'active'))

STEPS.each do |amount, balance|
  added = BalancesApi.new.add_balance(AddBalanceRequest.new(card_id: card, amount: amount.to_f))
  expect(decimal(added.balance), balance)
end
movements = TransactionsApi.new.list_movements(card, type: MovementKind::TOP_UP, from: '2025-02-10').movements
expect(movements.map { |movement| [decimal(movement.amount), decimal(movement.balance_after)] }, STEPS.reverse)
expect(movements.all? { |movement| movement.date.is_a?(Time) }, true)

# Failures are told apart by `code`.
taken = failure { customers.create_customer(person) }
expect(taken.code, 409)
problem = CreateCustomerConflictProblem.build_from_hash(JSON.parse(taken.response_body, symbolize_names: true))
expect([problem.code, problem.status], ['duplicate_email', 409])
# An id in another form names nothing. The client has to send it to learn that.
expect(failure { cards.get_card('card_001') }.code, 404)
puts 'Card ready for use!'
