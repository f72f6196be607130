% Outputs of a network from the arrays in a .mat file, by MATLAB's documented formulas: evaluate_network(file, inputs, outputs)
% inputs.mat holds x [n, inputs]; y [n, units] is written as text to outputs.
function evaluate_network(file, inputs, outputs)
  s = load(file);
  if (! isfield(s, 'IW')) s = s.net; end
  x = load(inputs).x';
  for i = 1:numel(s.input.fcns)
    x = apply(s.input.fcns{i}, s.input.settings{i}, x);
  end
  a = x;
  for i = 1:numel(s.transfer)
    if (i == 1) n = s.IW{1} * a; else n = s.LW{i, i-1} * a; end
    if (! isempty(s.b{i})) n = n + s.b{i}; end
    a = transfer(s.transfer{i}, n);
  end
  for i = numel(s.output.fcns):-1:1
    a = reverse(s.output.fcns{i}, s.output.settings{i}, a);
  end
  y = a';
  f = fopen(outputs, 'w'); fprintf(f, [repmat('%.17e ', 1, columns(y)) "\n"], y'); fclose(f);
end

function a = transfer(name, n)
  switch name
    case 'tansig'
      a = 2 ./ (1 + exp(-2 * n)) - 1;
    case 'logsig'
      a = 1 ./ (1 + exp(-n));
    case 'purelin'
      a = n;
    case 'poslin'
      a = max(0, n);
    case 'softmax'
      e = exp(n - max(n, [], 1)); a = e ./ sum(e, 1);
  end
end

function y = apply(name, s, x)
  switch name
    case 'mapminmax'
      y = (s.ymax - s.ymin) * (x - s.xmin) ./ (s.xmax - s.xmin) + s.ymin;
    case 'mapstd'
      y = (x - s.xmean) .* (s.ystd ./ s.xstd) + s.ymean;
    case 'removeconstantrows'
      y = x(s.keep, :);
    case 'fixunknowns'
      y = x;
  end
end

function x = reverse(name, s, y)
  switch name
    case 'mapminmax'
      x = (y - s.ymin) .* (s.xmax - s.xmin) / (s.ymax - s.ymin) + s.xmin;
    case 'mapstd'
      x = (y - s.ymean) .* (s.xstd ./ s.ystd) + s.xmean;
    case {'removeconstantrows', 'fixunknowns'}
      x = y;
  end
end
